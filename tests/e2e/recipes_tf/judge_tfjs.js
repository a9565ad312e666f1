// Runs a graph or layers model with TensorFlow.js (its cpu backend, in Node) over a golden set; prints how far it is.
// judge_tfjs.js TF_MIN_JS MODEL_DIR GOLDEN_DIR
const fs = require('fs');
const path = require('path');
const [bundle, directory, golden] = process.argv.slice(2);
const tf = require(bundle);

function npy(file) {
  const bytes = fs.readFileSync(file);
  const start = 10 + bytes.readUInt16LE(8);
  const header = bytes.toString('latin1', 10, start);
  const shape = header.match(/'shape': \(([^)]*)\)/)[1].split(',').filter((s) => s.trim()).map(Number);
  return {shape, values: new Float32Array(bytes.buffer.slice(bytes.byteOffset + start, bytes.byteOffset + bytes.length))};
}

async function main() {
  await tf.setBackend('cpu');
  const json = JSON.parse(fs.readFileSync(path.join(directory, 'model.json')));
  const signature = JSON.parse(fs.readFileSync(path.join(directory, 'signature.json')));
  const manifest = JSON.parse(fs.readFileSync(path.join(golden, 'manifest.json')));
  const shards = Buffer.concat(json.weightsManifest.flatMap((g) => g.paths).map((p) => fs.readFileSync(path.join(directory, p))));
  const handler = {load: async () => ({
    modelTopology: json.modelTopology, weightSpecs: json.weightsManifest.flatMap((g) => g.weights), signature: json.signature,
    weightData: shards.buffer.slice(shards.byteOffset, shards.byteOffset + shards.length), format: json.format})};
  const graph = json.format === 'graph-model';
  const model = graph ? await tf.loadGraphModel(handler) : await tf.loadLayersModel(handler);
  const feeds = signature.inputs.map((entry) => {
    const {shape, values} = npy(path.join(golden, manifest.inputs.find((i) => i.name === entry.name).file));
    return [entry.tensor, tf.tensor(values, shape)];
  });
  let results = graph ? model.execute(Object.fromEntries(feeds), signature.outputs.map((o) => o.tensor))
                      : model.predict(feeds.length === 1 ? feeds[0][1] : feeds.map((f) => f[1]));
  if (!Array.isArray(results)) results = [results];
  const report = {};
  for (const [number, entry] of signature.outputs.entries()) {
    const want = npy(path.join(golden, manifest.outputs.find((o) => o.name === entry.name).file)).values;
    const have = await results[number].data();
    let gap = have.length === want.length ? 0 : Infinity;
    for (let i = 0; i < want.length; i++) gap = Math.max(gap, Math.abs(want[i] - have[i]));
    report[entry.name] = {max_abs_error: gap, shape: results[number].shape};
  }
  console.log(JSON.stringify(report));
}
main().catch((error) => { console.error(error); process.exit(1); });
