// make_fixtures.mjs - the tiny models and the golden set that the browser tests commit: one network (8x8 image -> flatten
// -> 16 relu -> 10 softmax) as a TensorFlow.js layers model and a graph model, in three shards each, with weights from a
// generator so that the files can be made again byte for byte. Golden outputs come from TensorFlow.js' cpu backend.
// Usage: node make_fixtures.mjs WEB_TOOLCHAIN_DIR   (then: make_fixtures.py for the ONNX and TFLite forms)
import {createRequire} from 'node:module';
import {mkdirSync, writeFileSync} from 'node:fs';
import {join, dirname} from 'node:path';
import {fileURLToPath} from 'node:url';

const tf = createRequire(import.meta.url)(join(process.argv[2], 'tfjs/tf.min.js'));
const out = join(dirname(fileURLToPath(import.meta.url)), 'fixtures');
const SAMPLES = 16, IN = 64, HIDDEN = 16, OUT = 10, SHARD = 2000;

let state = 20261123;
const next = () => { state = (Math.imul(state, 1664525) + 1013904223) >>> 0; return state / 2 ** 32 - 0.5; };
const values = (n, scale) => Float32Array.from({length: n}, () => next() * scale);
const weights = {'dense/kernel': [[IN, HIDDEN], values(IN * HIDDEN, 0.6)], 'dense/bias': [[HIDDEN], values(HIDDEN, 0.4)],
  'probabilities/kernel': [[HIDDEN, OUT], values(HIDDEN * OUT, 1.6)], 'probabilities/bias': [[OUT], values(OUT, 0.4)]};
const image = values(SAMPLES * IN, 2).map((v) => v + 0.5);

function npy(shape, data) {
  let header = `{'descr': '<f4', 'fortran_order': False, 'shape': (${shape.join(', ')}), }`;
  header = header.padEnd(Math.ceil((header.length + 11) / 64) * 64 - 11) + '\n';
  const head = Buffer.from([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, header.length & 255, header.length >> 8]);
  return Buffer.concat([head, Buffer.from(header), Buffer.from(data.buffer, data.byteOffset, data.byteLength)]);
}
function put(path, content) {
  mkdirSync(dirname(join(out, path)), {recursive: true});
  writeFileSync(join(out, path), content);
}
function shards(folder, list) {
  const all = Buffer.concat(list.map(([, , d]) => Buffer.from(d.buffer)));
  const names = [];
  const count = Math.ceil(all.length / SHARD);
  for (let i = 0; i < count; i++) {
    names.push(`group1-shard${i + 1}of${count}.bin`);
    put(`${folder}/${names[i]}`, all.subarray(i * SHARD, (i + 1) * SHARD));
  }
  return [{paths: names, weights: list.map(([name, shape]) => ({name, shape, dtype: 'float32'}))}];
}
const json = (o) => JSON.stringify(o, null, 1) + '\n';

// Layers model
const dense = (name, units, activation) => ({class_name: 'Dense', config: {name, trainable: true, dtype: 'float32', units, activation, use_bias: true}});
put('layers/model.json', json({format: 'layers-model', generatedBy: 'portolan fixtures', convertedBy: null,
  modelTopology: {keras_version: '2.15.0', backend: 'tensorflow', model_config: {class_name: 'Sequential', config: {name: 'digits', layers: [
    {class_name: 'Flatten', config: {name: 'flatten', trainable: true, batch_input_shape: [null, 8, 8, 1], dtype: 'float32'}},
    dense('dense', HIDDEN, 'relu'), dense('probabilities', OUT, 'softmax')]}}},
  weightsManifest: shards('layers', Object.entries(weights).map(([n, [s, d]]) => [n, s, d]))}));

// Graph model: Reshape, MatMul, BiasAdd, Relu, MatMul, BiasAdd, Softmax
const type = {T: {type: 'DT_FLOAT'}};
const shapeOf = (dims) => ({shape: {dim: dims.map((size) => ({size: String(size)}))}});
const constant = (name, dims, dtype = 'DT_FLOAT') => ({name, op: 'Const', attr: {dtype: {type: dtype}, value: {tensor: {dtype, tensorShape: {dim: dims.map((size) => ({size: String(size)}))}}}}});
const matmul = (name, a, b) => ({name, op: 'MatMul', input: [a, b], attr: {...type, transpose_a: {b: false}, transpose_b: {b: false}}});
const node = (name, op, ...input) => ({name, op, input, attr: type});
const target = Int32Array.from([-1, IN]);
const graph = (extra) => ({versions: {producer: 1645}, node: [
  {name: 'image', op: 'Placeholder', attr: {dtype: {type: 'DT_FLOAT'}, ...shapeOf([-1, 8, 8, 1])}},
  constant('target', [2], 'DT_INT32'), constant('w1', [IN, HIDDEN]), constant('b1', [HIDDEN]), constant('w2', [HIDDEN, OUT]), constant('b2', [OUT]),
  {name: 'flat', op: 'Reshape', input: ['image', 'target'], attr: {...type, Tshape: {type: 'DT_INT32'}}},
  matmul('h', 'flat', 'w1'), node('hb', 'BiasAdd', 'h', 'b1'), node('hr', 'Relu', 'hb'),
  matmul('o', 'hr', 'w2'), node('ob', 'BiasAdd', 'o', 'b2'), ...extra]});
const io = (name, dims) => ({name, dtype: 'DT_FLOAT', tensorShape: {dim: dims.map((size) => ({size: String(size)}))}});
const signature = {inputs: {image: io('image:0', [-1, 8, 8, 1])}, outputs: {probabilities: io('Identity:0', [-1, OUT])}};
const graphWeights = (folder) => shards(folder, [['w1', ...weights['dense/kernel']], ['b1', ...weights['dense/bias']], ['w2', ...weights['probabilities/kernel']], ['b2', ...weights['probabilities/bias']]])
  .map((g) => g);
for (const [folder, tail] of [['graph', [node('Identity', 'Softmax', 'ob')]], ['unknown-op', [node('weird', 'XlaSharding', 'ob'), node('Identity', 'Softmax', 'weird')]]]) {
  const manifest = graphWeights(folder);
  put(`${folder}/group2-shard1of1.bin`, Buffer.from(target.buffer));
  manifest.push({paths: ['group2-shard1of1.bin'], weights: [{name: 'target', shape: [2], dtype: 'int32'}]});
  put(`${folder}/model.json`, json({format: 'graph-model', generatedBy: 'portolan fixtures', convertedBy: null, signature, modelTopology: graph(tail), weightsManifest: manifest}));
}

// Golden set
const t = (name) => tf.tensor(weights[name][1], weights[name][0]);
await tf.setBackend('cpu');
const hidden = tf.relu(tf.add(tf.matMul(tf.tensor(image, [SAMPLES, IN]), t('dense/kernel')), t('dense/bias')));
const answer = tf.softmax(tf.add(tf.matMul(hidden, t('probabilities/kernel')), t('probabilities/bias')));
put('golden/inputs/image.npy', npy([SAMPLES, 8, 8, 1], image));
put('golden/outputs/probabilities.npy', npy([SAMPLES, OUT], await answer.data()));
put('golden/manifest.json', json({version: 1, framework: `tfjs ${tf.version.tfjs} (cpu, node)`, samples: SAMPLES, precision: 'fp32',
  inputs: [{name: 'image', dtype: 'float32', shape: [SAMPLES, 8, 8, 1], file: 'inputs/image.npy'}],
  outputs: [{name: 'probabilities', dtype: 'float32', shape: [SAMPLES, OUT], file: 'outputs/probabilities.npy'}],
  environment: {node: process.versions.node, tfjs: tf.version.tfjs}}));
put('weights.json', json(Object.fromEntries(Object.entries(weights).map(([n, [s, d]]) => [n, {shape: s, base64: Buffer.from(d.buffer).toString('base64')}]))));
console.log('written to', out);
