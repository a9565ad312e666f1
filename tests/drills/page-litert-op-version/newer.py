"""What a converter of a later year writes: the same model, operator versions higher."""
import os
import shutil
import flatbuffers
from tensorflow.lite.python import schema_py_generated as schema
model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(open("model/model.tflite", "rb").read(), 0))
for code in model.operatorCodes:
    code.version += 40
builder = flatbuffers.Builder(1 << 20)
builder.Finish(model.Pack(builder), b"TFL3")
out = os.environ["PORTOLAN_OUTPUTS"] + "/model"
os.makedirs(out)
open(out + "/model.tflite", "wb").write(builder.Output())
shutil.copy("model/signature.json", out)
