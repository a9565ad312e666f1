// run.mjs - TensorFlow.js: starts the backend that was asked for and proves that it is the one that works, loads a graph
// or layers model by URL as an application would, and runs it. tf and tf.wasm come from the page's script elements.

const arrays = {float32: Float32Array, int32: Int32Array, bool: Uint8Array};

// setBackend may answer false, and getBackend() then still says the name that was asked for; so both are asked, the
// backend's own insides are looked at, and one addition must leave its result in that very backend.
async function startBackend(name, host) {
  if (name === 'wasm') {
    if (!tf.wasm) throw new Error('the wasm backend script did not load');
    tf.wasm.setWasmPaths(host.url('toolchain/tfjs/'));
    if (host.params.threads > 1) {
      if (!window.crossOriginIsolated) throw new Error(`threads=${host.params.threads} needs a cross-origin isolated page (COOP/COEP headers), and this one is not`);
      tf.wasm.setThreadsCount(host.params.threads);
    }
  }
  if (!(await tf.setBackend(name))) throw new Error(`the backend "${name}" did not start: setBackend answered false, although getBackend() says "${tf.getBackend()}"`);
  await tf.ready();
  if (tf.getBackend() !== name) throw new Error(`the backend "${name}" is not active: "${tf.getBackend()}" is`);
  const backend = tf.backend();
  const inside = {wasm: () => Boolean(backend.wasm?.tfjs), webgl: () => Boolean(backend.gpgpu?.gl) && !backend.gpgpu.gl.isContextLost(), cpu: () => !backend.wasm && !backend.gpgpu};
  if (!inside[name]()) throw new Error(`the backend "${name}" is registered but not running: its ${name === 'webgl' ? 'WebGL context' : 'module'} is absent`);
  const held = backend.numDataIds();
  const x = tf.tensor1d([1, 2, 3]), y = tf.add(x, 1);
  const answer = Array.from(await y.data());
  const grew = backend.numDataIds() - held;
  tf.dispose([x, y]);
  if (grew < 1 || answer.join() !== '2,3,4') throw new Error(`the backend "${name}" does not compute: 1,2,3 plus 1 gave ${answer.join()}, ${grew} tensors held by it`);
  const details = {};
  if (name === 'wasm') {
    details.simd = await tf.env().getAsync('WASM_HAS_SIMD_SUPPORT');
    details.threads = (await tf.env().getAsync('WASM_HAS_MULTITHREAD_SUPPORT')) ? tf.wasm.getThreadsCount() : 1;
    if (details.threads < host.params.threads) host.warn(`${host.params.threads} threads were asked for, TensorFlow.js runs ${details.threads}: it takes at most half of the ${navigator.hardwareConcurrency} cores, and four`);
  }
  if (name === 'webgl') details.webgl = tf.env().get('WEBGL_VERSION');
  return details;
}

const baseName = (name) => name.replace(/:\d+$/, '');

function describeGraph(model) {
  const keys = (part) => Object.entries(model.modelSignature?.[part] ?? {});
  const entry = (part) => (t) => ({name: t.name, dtype: t.dtype, shape: t.shape ? [...t.shape] : null,
    aliases: keys(part).filter(([, v]) => v.name === t.name || baseName(v.name) === baseName(t.name)).map(([k]) => k)});
  return {inputs: model.inputs.map(entry('inputs')), outputs: model.outputs.map(entry('outputs'))};
}
function describeLayers(model) {
  if (!model.inputNames?.length && typeof model.build === 'function') model.build(); // a sequential model knows its names only then
  const entry = (t, name) => ({name, dtype: t.dtype, shape: t.shape ? [...t.shape] : null, aliases: [t.name].filter(Boolean)});
  return {inputs: model.inputs.map((t, i) => entry(t, model.inputNames[i])), outputs: model.outputs.map((t, i) => entry(t, model.outputNames[i]))};
}

export async function open(host) {
  if (!window.tf?.version) throw new Error('TensorFlow.js itself did not load');
  const name = host.params.backend;
  const details = await startBackend(name, host);
  host.phase('load the model');
  const url = host.modelUrl(host.params.model);
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${response.status} for the model's ${host.params.model}`);
  const format = (await response.json()).format ?? 'layers-model';
  if (format !== 'graph-model' && format !== 'layers-model') throw new Error(`${host.params.model} has the format "${format}"; graph-model and layers-model can be run`);
  const isGraph = format === 'graph-model';
  const model = isGraph ? await tf.loadGraphModel(url) : await tf.loadLayersModel(url);
  const {inputs, outputs} = isGraph ? describeGraph(model) : describeLayers(model);
  const names = outputs.map((o) => o.name);
  let isAsync = host.params.execute === 'async';

  async function forward(tensors) {
    if (!isGraph) return [].concat(model.predict(inputs.map((i) => tensors[i.name])));
    if (!isAsync) {
      try {
        return [].concat(model.execute(tensors, names));
      } catch (e) {
        if (host.params.execute !== 'auto' || !/executeAsync/.test(e.message)) throw e;
        host.warn(`the graph has dynamic operators and needs executeAsync: ${e.message}`);
        isAsync = true;
      }
    }
    return [].concat(await model.executeAsync(tensors, names));
  }

  return {
    runtime: {name: 'tfjs', version: tf.version['tfjs-core'] ?? tf.version.tfjs, backend: name, format, ...details},
    inputs, outputs,
    async run(feeds) {
      const tensors = {}, answer = {};
      for (const [key, f] of Object.entries(feeds)) {
        if (!arrays[f.dtype]) throw new Error(`input ${key}: TensorFlow.js has no ${f.dtype}`);
        tensors[key] = tf.tensor(f.data, f.shape, f.dtype);
      }
      let results = [];
      try {
        results = await forward(tensors);
        for (const [i, t] of results.entries()) {
          if (!t?.data) throw new Error(`output ${names[i]}: the model gave no tensor`);
          answer[names[i]] = {dtype: t.dtype, shape: [...t.shape], data: await t.data()};
        }
      } finally {
        tf.dispose([...Object.values(tensors), ...results.filter((t) => t?.data)]);
      }
      if (tf.getBackend() !== name) throw new Error(`the backend changed under way from "${name}" to "${tf.getBackend()}"`);
      return answer;
    },
    async close() { model.dispose(); },
  };
}
