"""What keras/saved-model asks for: the model, and the inputs it is judged by."""

import keras
import model as m


def build() -> keras.Model:
    net = m.network()
    net.load_weights(m.WEIGHTS)
    return net


def golden():
    images, labels = m.rows()
    return {"image": images[-m.HELD_OUT:][:32]}, labels[-m.HELD_OUT:][:32]
