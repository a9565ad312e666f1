// run.mjs - LiteRT.js, wasm (XNNPACK): compiles a .tflite by URL and runs its default signature. LiteRT.js resolves with
// whatever lies in memory when an operator could not be prepared, and only prints an error to the console; the driver
// reports such lines, and the gate is red for them.

function pickModel(host) {
  if (host.params.model) return host.params.model;
  const found = host.modelFiles.filter((f) => f.endsWith('.tflite'));
  if (found.length !== 1) throw new Error(`the model files have ${found.length} .tflite files (${found.join(', ') || host.modelFiles.join(', ')}); name one by the parameter "model"`);
  return found[0];
}

export async function open(host) {
  const litert = await import(host.url('toolchain/litertjs/index.js'));
  await litert.loadLiteRt(host.url('toolchain/litertjs/wasm/'));
  host.phase('load the model');
  const file = pickModel(host);
  const response = await fetch(host.modelUrl(file));
  if (!response.ok) throw new Error(`${response.status} for the model ${file}`);
  const model = await litert.loadAndCompile(new Uint8Array(await response.arrayBuffer()), {accelerator: 'wasm'});
  if (model.options?.accelerator && model.options.accelerator !== 'wasm') throw new Error(`the model was compiled for "${model.options.accelerator}", not for wasm`);
  const describe = (list) => [...list].map((d) => ({name: d.name, aliases: [], dtype: d.dtype, shape: Array.from(d.shape)}));
  const inputs = describe(model.getInputDetails()), outputs = describe(model.getOutputDetails());
  return {
    runtime: {name: 'litertjs', version: host.versions.litertjs, backend: 'wasm', fully_accelerated: model.isFullyAccelerated},
    inputs, outputs,
    async run(feeds) {
      const tensors = inputs.map((i) => new litert.Tensor(feeds[i.name].data, feeds[i.name].shape));
      let results = [];
      try {
        results = await model.run(tensors);
        const answer = {};
        for (const [i, t] of results.entries()) {
          answer[outputs[i].name] = {dtype: t.type.dtype, shape: Array.from(t.type.layout.dimensions), data: (await t.data()).slice()};
        }
        return answer;
      } finally {
        for (const t of [...tensors, ...results]) if (!t.deleted) t.delete();
      }
    },
    async close() { model.delete(); },
  };
}
