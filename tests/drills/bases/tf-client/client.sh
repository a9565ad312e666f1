# The application's client.
python3 client.py
