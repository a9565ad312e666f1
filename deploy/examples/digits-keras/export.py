"""What Portolan's keras/saved-model recipe asks for: the model, and the inputs it is judged by."""

import digits
import keras


def build() -> keras.Model:
    model = digits.network()
    model.load_weights(digits.WEIGHTS)
    return model


def golden():
    """128 images that the model never saw, with their digits."""
    images, labels = digits.held_out()
    return {"image": images[:128]}, labels[:128]
