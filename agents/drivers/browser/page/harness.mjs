// harness.mjs - runs one verify inside the page, for any runtime. The recipe's run.mjs knows a runtime (open, run, close);
// this knows golden sets: it reads the .npy files, decides which goes into which input of the model, feeds sample by
// sample (or the model's own fixed batch), measures, and hands the outputs back to the page server as .npy files.
//
// A recipe's run.mjs exports `async open(host)` and gives back
//   { runtime: {name, version, backend, …},
//     inputs:  [{name, aliases: [], dtype, shape}]      shape: numbers, or null / strings / -1 for what is free
//     outputs: [{name, aliases: []}],
//     run: async (feeds) => ({outputName: {dtype, shape, data}}),   feeds: {inputName: {dtype, shape, data}}
//     close: async () => {} }
// and may use host.params, host.url(path), host.modelUrl(path), host.modelFiles, host.phase(text), host.warn(text).

const {base, downloads, post, settled, fetch: quietFetch} = window.portolan;
const UPLOAD_BYTES = 8 << 20; // half of what the page server takes at once
const MIN_STEADY = 20, MAX_STEADY = 1000, WARM_UP = 3;

// ---- .npy ----

const DTYPES = {
  float32: ['<f4', Float32Array], float64: ['<f8', Float64Array], float16: ['<f2', Uint16Array],
  int8: ['|i1', Int8Array], int16: ['<i2', Int16Array], int32: ['<i4', Int32Array], int64: ['<i8', BigInt64Array],
  uint8: ['|u1', Uint8Array], uint16: ['<u2', Uint16Array], uint32: ['<u4', Uint32Array], uint64: ['<u8', BigUint64Array],
  bool: ['|b1', Uint8Array], bfloat16: ['<u2', Uint16Array],
};
const product = (shape) => shape.reduce((a, b) => a * b, 1);

export function parseNpy(buffer, what, dtype) {
  const bytes = new Uint8Array(buffer);
  if (bytes.length < 10 || bytes[0] !== 0x93 || String.fromCharCode(...bytes.subarray(1, 6)) !== 'NUMPY') throw new Error(`${what} is not an .npy file`);
  const view = new DataView(buffer);
  const long = bytes[6] >= 2;
  const start = long ? 12 : 10;
  const size = long ? view.getUint32(8, true) : view.getUint16(8, true);
  const header = new TextDecoder().decode(bytes.subarray(start, start + size));
  const descr = /'descr':\s*'([^']+)'/.exec(header)?.[1];
  const fortran = /'fortran_order':\s*True/.test(header);
  const shape = (/'shape':\s*\(([^)]*)\)/.exec(header)?.[1] ?? '').split(',').map((s) => s.trim()).filter(Boolean).map(Number);
  const name = Object.keys(DTYPES).find((k) => DTYPES[k][0] === descr && (k !== 'bfloat16' || dtype === 'bfloat16'));
  if (!name || fortran || shape.some((n) => !Number.isInteger(n) || n < 0)) throw new Error(`${what}: an .npy of ${descr}${fortran ? ' in Fortran order' : ''} is not supported`);
  const kind = descr === '<u2' && dtype === 'bfloat16' ? 'bfloat16' : name;
  const Type = DTYPES[kind][1];
  const body = buffer.slice(start + size);
  if (body.byteLength < product(shape) * Type.BYTES_PER_ELEMENT) throw new Error(`${what} is shorter than its header says`);
  return {dtype: kind, shape, data: new Type(body, 0, product(shape))};
}

export function writeNpy({dtype, shape, data}) {
  const tuple = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(', ')})`;
  let header = `{'descr': '${DTYPES[dtype][0]}', 'fortran_order': False, 'shape': ${tuple}, }`;
  header = header.padEnd(Math.ceil((header.length + 11) / 64) * 64 - 11) + '\n';
  const raw = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const out = new Uint8Array(10 + header.length + raw.length);
  out.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, header.length & 255, header.length >> 8]);
  out.set(new TextEncoder().encode(header), 10);
  out.set(raw, 10 + header.length);
  return out;
}

// ---- element types ----

const FLOATS = ['float16', 'bfloat16', 'float32', 'float64'];
const RANGE = {int8: [-128, 127], uint8: [0, 255], int16: [-32768, 32767], uint16: [0, 65535], int32: [-2147483648, 2147483647],
  uint32: [0, 4294967295], int64: [-(2 ** 53), 2 ** 53], uint64: [0, 2 ** 53], bool: [0, 1]};

export function halfToNumber(h) {
  const sign = h & 0x8000 ? -1 : 1, exp = (h >> 10) & 31, frac = h & 1023;
  if (exp === 0) return sign * frac * 2 ** -24;
  if (exp === 31) return frac ? NaN : sign * Infinity;
  return sign * (1 + frac / 1024) * 2 ** (exp - 15);
}
export function numberToHalf(x) {
  const f = new Float32Array([x]), b = new Uint32Array(f.buffer)[0];
  const sign = (b >> 16) & 0x8000, exp = (b >>> 23) & 255;
  if (exp === 255) return sign | 0x7c00 | (b & 0x7fffff ? 0x200 : 0);
  const ax = Math.abs(f[0]);
  if (ax >= 65520) return sign | 0x7c00;
  const scale = ax < 2 ** -14 ? 2 ** -24 : 2 ** (exp - 127 - 10);
  let q = ax / scale;
  const low = Math.floor(q), rest = q - low;
  q = rest > 0.5 || (rest === 0.5 && low % 2) ? low + 1 : low;
  return ax < 2 ** -14 ? sign | q : sign | (((exp - 112) << 10) + (q - 1024));
}
const numbers = (t) => {
  if (t.dtype === 'float16') return Float32Array.from(t.data, halfToNumber);
  if (t.dtype === 'bfloat16') return new Float32Array(Uint32Array.from(t.data, (v) => v << 16).buffer);
  return t.data;
};

// To the type that the model wants, without changing a value unseen. `quantization` comes from signature.json.
export function convert(t, dtype, what, quantization) {
  if (t.dtype === dtype || !dtype) return t;
  if (!DTYPES[dtype]) throw new Error(`${what}: the model wants ${dtype}, which has no place in a golden set`);
  const Type = DTYPES[dtype][1], from = numbers(t);
  const make = (fn) => ({dtype, shape: t.shape, data: Type.from(from, fn)});
  if (dtype === 'bfloat16') throw new Error(`${what}: the model wants bfloat16, the golden set has ${t.dtype}`);
  if (FLOATS.includes(dtype)) return dtype === 'float16' ? make((v) => numberToHalf(Number(v))) : make(Number);
  const [low, high] = RANGE[dtype];
  if (FLOATS.includes(t.dtype)) {
    if (!quantization || !(quantization.scale > 0)) throw new Error(`${what}: the model wants ${dtype}, the golden set has ${t.dtype}, and signature.json gives no scale and zero point`);
    return make((v) => Math.min(high, Math.max(low, Math.round(v / quantization.scale) + (quantization.zero_point || 0))));
  }
  const big = dtype.endsWith('64');
  return make((v) => {
    if (Number(v) < low || Number(v) > high) throw new Error(`${what}: the value ${v} does not fit into ${dtype}, which the model wants`);
    return big ? BigInt(v) : Number(v);
  });
}
function dequantize(t, q) {
  if (!q || !(q.scale > 0) || FLOATS.includes(t.dtype)) return t;
  return {dtype: 'float32', shape: t.shape, data: Float32Array.from(t.data, (v) => (Number(v) - (q.zero_point || 0)) * q.scale)};
}

// ---- which golden tensor is which tensor of the model ----

const plain = (name) => name.replace(/:\d+$/, '').replace(/^serving_default_/, '');

// Pairs each golden entry with a model entry: signature.json, then names, then aliases, then position (told).
export function match(golden, model, signature, what, warn) {
  const pairs = new Map(), taken = new Set();
  const take = (g, m) => { if (m && !taken.has(m) && !pairs.has(g)) { pairs.set(g, m); taken.add(m); } };
  const said = (g) => (signature || []).find((s) => s.name === g.name)?.tensor;
  const names = (m) => [m.name, ...(m.aliases || [])].filter(Boolean);
  for (const g of golden) if (said(g)) take(g, model.find((m) => names(m).some((n) => n === said(g) || plain(n) === plain(said(g)))));
  for (const g of golden) take(g, model.find((m) => names(m).includes(g.name)));
  for (const g of golden) take(g, model.find((m) => !taken.has(m) && names(m).some((n) => plain(n) === plain(g.name))));
  const left = golden.filter((g) => !pairs.has(g)), free = model.filter((m) => !taken.has(m));
  if (left.length && left.length === free.length) {
    if (golden.length > 1) warn(`${what}s are matched by position: ${left.map((g, i) => `${g.name} → ${free[i].name}`).join(', ')}`);
    left.forEach((g, i) => take(g, free[i]));
  }
  return pairs;
}

// ---- the run ----

class Failure extends Error {
  constructor(message) { super(message); this.name = 'Failure'; }
}

async function getGolden(manifest, warn) {
  if (!(manifest.samples > 0) || !manifest.inputs?.length) throw new Failure('the golden set is empty: there is nothing to compare');
  const list = [];
  for (const entry of manifest.inputs) {
    const r = await quietFetch(new URL(`golden/${entry.file}`, base));
    if (!r.ok) throw new Failure(`${r.status} for golden/${entry.file}, which the golden set's manifest names`);
    const t = parseNpy(await r.arrayBuffer(), `golden/${entry.file}`, entry.dtype);
    if (t.shape[0] !== manifest.samples) throw new Failure(`golden/${entry.file} has ${t.shape[0]} samples, its manifest says ${manifest.samples}`);
    list.push({name: entry.name, tensor: t});
  }
  if (manifest.samples < 8) warn(`the golden set has ${manifest.samples} samples; eight real ones are the least that says much`);
  return list;
}

const isFixed = (d) => typeof d === 'number' && d > 0;
const showShape = (shape) => `[${shape.map((d) => (isFixed(d) ? d : '?')).join(', ')}]`;

// How the model wants to be fed: {batch: samples a run, squeeze: without the axis of samples}.
export function plan(pairs, params, samples) {
  let batch = 0, squeeze = false;
  for (const [g, m] of pairs) {
    if (!Array.isArray(m.shape)) continue;
    const want = m.shape, have = g.tensor.shape;
    const fits = (a, b) => a.length === b.length && a.every((d, i) => !isFixed(d) || d === b[i]);
    if (want.length === have.length && fits(want.slice(1), have.slice(1))) {
      if (!isFixed(want[0])) continue;
      if (batch && batch !== want[0]) throw new Failure(`the model's inputs want batches of ${batch} and of ${want[0]}`);
      batch = want[0];
    } else if (fits(want, have.slice(1))) {
      squeeze = true;
    } else {
      throw new Failure(`input ${g.name}: the model wants shape ${showShape(want)}, the golden set has ${showShape(have)}`);
    }
  }
  if (squeeze) return {batch: 1, squeeze};
  return {batch: batch || (params.batch > 0 ? Math.min(params.batch, samples) : params.batch === 0 ? samples : 1), squeeze};
}

// Samples first … first+batch-1 of t; beyond the end the last sample again (its answers are dropped).
function slice(t, first, batch, squeeze) {
  const one = product(t.shape.slice(1)), samples = t.shape[0];
  const data = new t.data.constructor(one * batch);
  for (let i = 0; i < batch; i++) {
    const k = Math.min(first + i, samples - 1);
    data.set(t.data.subarray(k * one, (k + 1) * one), i * one);
  }
  return {dtype: t.dtype, shape: squeeze ? t.shape.slice(1) : [batch, ...t.shape.slice(1)], data};
}

class Gather {
  constructor(samples) { this.samples = samples; this.outputs = new Map(); }
  add(name, t, first, batch, squeeze) {
    if (!t || !DTYPES[t.dtype] || !Array.isArray(t.shape) || !(t.data?.length > 0) || t.data.length !== product(t.shape)) throw new Failure(`output ${name}: the runtime resolved with no usable tensor (${t ? `${t.dtype}, shape ${JSON.stringify(t.shape)}, ${t.data?.length} elements` : 'nothing'})`);
    const stacked = squeeze || t.shape[0] !== batch; // one answer a run, without an axis of samples
    if (stacked && batch !== 1) throw new Failure(`output ${name}: shape ${showShape(t.shape)} for a batch of ${batch}: the first axis is not the samples`);
    const shape = stacked ? t.shape : t.shape.slice(1), one = product(shape);
    let o = this.outputs.get(name);
    if (!o) this.outputs.set(name, (o = {dtype: t.dtype, shape: [this.samples, ...shape], one, data: new (DTYPES[t.dtype][1])(this.samples * one)}));
    if (o.one !== one || o.dtype !== t.dtype) throw new Failure(`output ${name}: shape ${showShape([1, ...shape])} ${t.dtype} for sample ${first}, but ${showShape([1, ...o.shape.slice(1)])} ${o.dtype} before`);
    const count = Math.min(batch, this.samples - first);
    o.data.set(t.data.subarray(0, count * one), first * one);
  }
}

async function upload(name, bytes) {
  for (let offset = 0; offset < bytes.length; offset += UPLOAD_BYTES) {
    const piece = bytes.subarray(offset, offset + UPLOAD_BYTES);
    const r = await quietFetch(new URL(`got/${name}?offset=${offset}&total=${bytes.length}`, base), {method: 'POST', body: piece});
    if (!r.ok) throw new Failure(`the page server refused output ${name}: ${await r.text()}`);
  }
}

const breathe = () => new Promise((resolve) => setTimeout(resolve)); // lets posts, timers and WebDriver through

export async function main(cfg) {
  const warnings = [];
  let phase = 'start';
  const warn = (text) => { if (warnings.length < 100) warnings.push(text); post({kind: 'warning', level: 'warn', text, source: 'verify'}); };
  const enter = (text) => { phase = text; post({kind: 'phase', level: 'info', text, source: 'verify'}); };
  const failed = () => [...new Set(downloads.filter((d) => d.error || d.status >= 400).map((d) => (d.error ? `${d.url} (${d.error})` : `${d.status} for ${d.url}`)))];
  let model = null;
  try {
    enter('read the golden set');
    const golden = await getGolden(cfg.golden, warn);
    const samples = cfg.golden.samples;

    enter('load the recipe');
    const recipe = await import(new URL(`recipe/${cfg.run}`, base));
    enter('start the runtime');
    const began = performance.now();
    let runtimeReady = began;
    model = await recipe.open({
      params: cfg.params, signature: cfg.signature, versions: cfg.versions ?? {}, modelFiles: cfg.model_files,
      url: (path) => new URL(path, base).href,
      modelUrl: (path) => new URL(path, cfg.model_base || new URL('model/', base)).href,
      phase: (text) => { runtimeReady = text === 'load the model' ? performance.now() : runtimeReady; enter(text); },
      warn,
    });
    const loadMs = performance.now() - began;

    enter('match inputs');
    const inputs = match(golden, model.inputs, cfg.signature?.inputs, 'input', warn);
    const unfed = model.inputs.filter((m) => ![...inputs.values()].includes(m));
    const unused = golden.filter((g) => !inputs.has(g));
    if (unfed.length || unused.length) throw new Failure(`the model has inputs ${model.inputs.map((m) => m.name).join(', ')}; the golden set has ${golden.map((g) => g.name).join(', ')}`);
    const quantOf = (list, name) => { const q = (list || []).find((s) => s.name === name)?.quantization; return q && {scale: [].concat(q.scale)[0], zero_point: [].concat(q.zero_point ?? 0)[0]}; };
    for (const [g, m] of inputs) {
      const q = quantOf(cfg.signature?.inputs, g.name), was = g.tensor.dtype;
      g.tensor = convert(g.tensor, m.dtype, `input ${g.name}`, q);
      if (was !== g.tensor.dtype) warn(`input ${g.name} is fed as ${g.tensor.dtype}; the golden set has ${was}`);
    }
    const {batch, squeeze} = plan(inputs, cfg.params, samples);
    const wanted = match(cfg.golden.outputs || [], model.outputs, cfg.signature?.outputs, 'output', warn);
    const nameOf = new Map([...wanted].map(([g, m]) => [m.name, g.name]));
    const feed = (first) => Object.fromEntries([...inputs].map(([g, m]) => [m.name, slice(g.tensor, first, batch, squeeze)]));

    const gather = new Gather(samples), steady = [];
    let firstMs = 0, runs = 0, rested = performance.now();
    const inferOnce = async (first, keep) => {
      const feeds = feed(first), t0 = performance.now();
      const answer = await model.run(feeds);
      const ms = performance.now() - t0;
      if (runs++ === 0) firstMs = ms;
      else if (runs > WARM_UP && steady.length < MAX_STEADY) steady.push(ms);
      if (!answer || !Object.keys(answer).length) throw new Failure('the runtime resolved without any output');
      if (keep) for (const [name, t] of Object.entries(answer)) {
        const golden_name = nameOf.get(name) ?? name;
        gather.add(golden_name, dequantize(t, quantOf(cfg.signature?.outputs, golden_name)), first, batch, squeeze);
      }
      if (performance.now() - rested > 50) { await breathe(); rested = performance.now(); }
    };
    enter(`first inference (batch ${batch})`);
    await inferOnce(0, true);
    enter(`inference of ${samples} samples`);
    for (let first = batch; first < samples; first += batch) await inferOnce(first, true);

    const want = Math.min(MAX_STEADY, Math.max(MIN_STEADY, cfg.params.repeats || 0));
    const until = performance.now() + cfg.latency_budget_ms;
    enter(`steady latencies (${want})`);
    for (let k = 0; steady.length < want && performance.now() < until; k++) await inferOnce((k * batch) % samples, false);
    if (steady.length < want) warn(`only ${steady.length} of ${want} steady latencies fitted into ${cfg.latency_budget_ms} ms`);

    enter('hand over the outputs');
    const outputs = [];
    let i = 0;
    for (const g of cfg.golden.outputs || []) if (gather.outputs.has(g.name)) { const o = gather.outputs.get(g.name); gather.outputs.delete(g.name); gather.outputs.set(g.name, o); }
    for (const [name, o] of gather.outputs) {
      const file = `output-${i++}.npy`;
      let nonfinite = 0;
      if (o.dtype === 'float32' || o.dtype === 'float64') for (const v of o.data) nonfinite += !Number.isFinite(v);
      if (nonfinite) warn(`output ${name} has ${nonfinite} of ${o.data.length} elements that are NaN or infinite`);
      await upload(file, writeNpy(o));
      outputs.push({name, dtype: o.dtype, shape: o.shape, file});
    }
    const gone = failed();
    if (gone.length) warn(`downloads that failed although the run went on: ${gone.join('; ')}`);
    enter('done');
    return {ok: true, outputs, runtime: {...model.runtime, batch, cross_origin_isolated: window.crossOriginIsolated},
      metrics: {load_ms: loadMs, runtime_ms: runtimeReady - began, first_ms: firstMs, latency_ms: steady}, warnings};
  } catch (e) {
    const text = e instanceof Error ? `${e.name === 'Failure' ? '' : `${e.name}: `}${e.message}` : window.portolan.show(e);
    return {ok: false, warnings, error: {phase, text: text.slice(0, 4000), stack: String(e?.stack || '').replaceAll(base, '').slice(0, 8000), downloads: failed().slice(0, 50)}};
  } finally {
    try { await model?.close?.(); } catch (e) { warn(`closing the model failed: ${e}`); }
    await settled();
  }
}
