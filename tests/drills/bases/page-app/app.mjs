// The page's own code around the model.
export async function open(url) {
  return tf.loadGraphModel(url('model.json'));
}

export async function predict(model, image) {
  return model.predict(tf.tensor(image.data, image.shape, image.dtype));
}
