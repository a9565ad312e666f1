# run.sh - starts the server, waits until it says that the model is loaded, runs the repository's client, ends the server. The client's status is the stage's.
python3 "$PORTOLAN_RECIPE/../../http/tf-serving/serve.py" --port 8501 --model-dir "$PORTOLAN_INPUTS/model" --name digits &
server=$!
until curl -s -o "$TMPDIR/status" http://127.0.0.1:8501/v1/models/digits && grep -q AVAILABLE "$TMPDIR/status"; do
    kill -0 "$server" 2>"$TMPDIR/gone" || { wait "$server"; exit; }
    sleep 0.2
done
sh ./client.sh
status=$?
kill "$server"
exit "$status"
