// A model that wants far more memory than any device has: 60000 x 60000 floats in a tab, again and again.
export async function open(host) {
  host.phase('load the model');
  await tf.setBackend('cpu');
  const held = [];
  for (let i = 0; i < 40; i++) {
    const t = new Float32Array(64 << 20); // 256 MiB
    t.fill(i + 1);
    held.push(t);
    await new Promise((resolve) => setTimeout(resolve));
  }
  throw new Error(`the tab held ${held.length * 256} MiB and nothing stopped it`);
}
