# Starts MLServer as in production, waits until it is ready, runs the client.
cp "$PORTOLAN_INPUTS"/model/* models/digits/
mlserver start models &
engine=$!
until curl -fs http://127.0.0.1:8080/v2/health/ready; do
    kill -0 "$engine" 2>"$TMPDIR/gone" || { wait "$engine"; exit 1; }
    sleep 0.2
done
python3 client.py
status=$?
kill "$engine"
exit "$status"
