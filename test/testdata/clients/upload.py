"""python3 upload.py URL TOKENS SIZE...: posts bodies of these sizes with each of the tokens,
which commas separate, and prints what was answered to each."""
import ssl
import sys
import urllib.error
import urllib.request

url, tokens, *sizes = sys.argv[1:]
for token, size in ((token, size) for token in tokens.split(",") for size in sizes):
    request = urllib.request.Request(url, method="POST", data=bytes(int(size)))
    if token:
        request.add_header("Authorization", "Bearer " + token)
    try:
        answer = urllib.request.urlopen(request, timeout=30, context=ssl._create_unverified_context())
    except urllib.error.HTTPError as refusal:
        answer = refusal
    except OSError as error:
        print(size, "bytes:", error)
        continue
    print(answer.status, answer.read().decode().strip())
