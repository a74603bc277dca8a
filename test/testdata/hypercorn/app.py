"""An ASGI application that prints every request that it gets, a line of JSON each, and echoes WebSockets."""
import json


async def app(scope, receive, send):
    if scope["type"] not in ("http", "websocket"):
        return
    received = {
        "method": scope.get("method", scope["type"]),
        "path": scope["path"],
        "version": scope["http_version"],
        "fields": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]],
    }
    print(json.dumps(received), flush=True)
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})
