// run.mjs - ONNX Runtime Web, wasm execution provider: the session is created from the model's URL as an application
// would, files beside the model are offered as external data, and more threads than one are insisted on or refused.

const FLOAT16 = typeof Float16Array === 'undefined' ? null : Float16Array;
const MODEL = /\.(onnx|ort)$/;

function pickModel(host) {
  if (host.params.model) return host.params.model;
  const found = host.modelFiles.filter((f) => MODEL.test(f));
  if (found.length !== 1) throw new Error(`the model files have ${found.length} .onnx or .ort files (${found.join(', ') || host.modelFiles.join(', ')}); name one by the parameter "model"`);
  return found[0];
}

function toTensor(ort, key, f) {
  let data = f.data;
  if (f.dtype === 'float16' && FLOAT16) data = new FLOAT16(data.buffer, data.byteOffset, data.length);
  if (f.dtype === 'bfloat16') throw new Error(`input ${key}: ONNX Runtime Web has no bfloat16`);
  return new ort.Tensor(f.dtype, data, f.shape);
}

async function fromTensor(t) {
  const data = await t.getData();
  if (t.type === 'float16') return {dtype: t.type, shape: [...t.dims], data: new Uint16Array(data.buffer, data.byteOffset, data.length)};
  return {dtype: t.type, shape: [...t.dims], data};
}

export async function open(host) {
  const ort = await import(host.url('toolchain/onnxruntime-web/ort.wasm.min.mjs'));
  const threads = host.params.threads;
  if (threads > 1 && !window.crossOriginIsolated) throw new Error(`threads=${threads} needs a cross-origin isolated page (COOP/COEP headers), and this one is not`);
  ort.env.wasm.wasmPaths = host.url('toolchain/onnxruntime-web/');
  ort.env.wasm.numThreads = threads;
  ort.env.wasm.proxy = false;
  ort.env.logLevel = 'warning';
  const file = pickModel(host);
  const folder = file.includes('/') ? file.slice(0, file.lastIndexOf('/') + 1) : '';
  const beside = host.modelFiles.filter((f) => f !== file && f.startsWith(folder) && !MODEL.test(f) && !f.endsWith('.json'));
  host.phase('load the model');
  const session = await ort.InferenceSession.create(host.modelUrl(file), {
    executionProviders: ['wasm'],
    graphOptimizationLevel: host.params.optimize,
    ...(beside.length ? {externalData: beside.map((f) => ({path: f.slice(folder.length), data: host.modelUrl(f)}))} : {}),
  });
  if (ort.env.wasm.numThreads !== threads) throw new Error(`${threads} threads were asked for, ONNX Runtime Web took ${ort.env.wasm.numThreads}`);
  const describe = (names, metadata) => names.map((name, i) => {
    const m = metadata?.find((x) => x.name === name) ?? metadata?.[i];
    return {name, aliases: [], dtype: m?.type, shape: m?.shape ? [...m.shape] : null};
  });
  return {
    runtime: {name: 'onnxruntime-web', version: ort.env.versions?.web ?? ort.env.versions?.common, backend: 'wasm', threads},
    inputs: describe(session.inputNames, session.inputMetadata),
    outputs: describe(session.outputNames, session.outputMetadata),
    async run(feeds) {
      const tensors = Object.fromEntries(Object.entries(feeds).map(([key, f]) => [key, toTensor(ort, key, f)]));
      const results = await session.run(tensors);
      const answer = {};
      for (const name of session.outputNames) {
        if (!results[name]?.dims) throw new Error(`output ${name}: the session gave no tensor`);
        answer[name] = await fromTensor(results[name]);
      }
      return answer;
    },
    async close() { await session.release(); },
  };
}
