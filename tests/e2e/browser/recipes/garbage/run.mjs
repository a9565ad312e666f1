// A runtime that fails and resolves all the same: what it says goes to the console only. The parameter says how.
const answers = {
  console_error: (n) => { console.error('ERROR: Node number 3 (FlexAsinh) failed to prepare.'); return Float32Array.from({length: n}, (_, i) => 6.7e-44 * i); },
  nan: (n) => new Float32Array(n).fill(NaN),
  nothing: () => undefined,
  short: (n) => new Float32Array(n - 1),
  info_only: (n) => { console.error('INFO: Created TensorFlow Lite XNNPACK delegate for CPU.'); console.error('\u001b[1;31m2026-11-23 07:00:00 [W:onnxruntime:, graph.cc:1] a warning\u001b[m'); return new Float32Array(n).fill(0.1); },
  rejected_aside: (n) => { Promise.reject(new Error('weights were never uploaded')); return new Float32Array(n).fill(0.1); },
  logger: (n) => { console.log('plain %s and %d', 'words', 7, {a: 1}); console.warn('careful'); console.info('\ud800\u0000odd'); return new Float32Array(n).fill(0.1); },
};
export async function open(host) {
  host.phase('load the model');
  return {
    runtime: {name: 'fake', version: '1', backend: 'none'},
    inputs: [{name: 'image', dtype: 'float32', shape: [null, 8, 8, 1]}],
    outputs: [{name: 'probabilities'}],
    async run() {
      const data = answers[host.params.answer](10);
      return data ? {probabilities: {dtype: 'float32', shape: [1, 10], data}} : {};
    },
  };
}
