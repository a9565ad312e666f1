"""Trains the network and writes dilation.weights.h5."""

import keras
import model as m

keras.utils.set_random_seed(7)
images, labels = m.rows()
images, labels = images[: -m.HELD_OUT], labels[: -m.HELD_OUT]
net = m.network()
net.compile(optimizer=keras.optimizers.Adam(3e-3), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
net.fit(images, labels, epochs=25, batch_size=64, verbose=2)
plain = m.network()
plain.set_weights(net.get_weights())
plain.save_weights(m.WEIGHTS)
