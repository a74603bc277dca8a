"""python3 client.py METHOD URL TOKEN: prints the status and the body."""
import sys
import urllib.error
import urllib.request

method, url, token = sys.argv[1:]
request = urllib.request.Request(
    url,
    method=method,
    data=b'{"name":"Ada"}' if method == "POST" else None,
    headers={"Authorization": "Bearer " + token},
)
try:
    answer = urllib.request.urlopen(request, timeout=20)
except urllib.error.HTTPError as refusal:
    answer = refusal
print(answer.status, answer.read().decode().strip())
