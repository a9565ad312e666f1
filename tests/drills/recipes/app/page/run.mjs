// run.mjs - the repository's app.mjs is asked for open(url) and predict(image); `url` makes an address below the model's files.
export async function open(host) {
  await tf.setBackend('cpu');
  await tf.ready();
  const app = await import(host.modelUrl('app.mjs'));
  host.phase('load the model');
  const state = await app.open((path) => host.modelUrl(path), (path) => host.url(path));
  return {
    runtime: {name: 'tfjs', version: tf.version.tfjs, backend: tf.getBackend()},
    inputs: [{name: 'image', aliases: [], dtype: 'float32', shape: [null, 8, 8, 1]}],
    outputs: [{name: 'probabilities', aliases: []}],
    async run(feeds) {
      const y = await app.predict(state, feeds.image);
      return {probabilities: {dtype: y.dtype, shape: [...y.shape], data: await y.data()}};
    },
    async close() {},
  };
}
