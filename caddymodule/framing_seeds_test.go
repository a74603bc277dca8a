package caddymodule_test

import (
	"strings"
)

// framingTokens are placeholders for tokens, by their numbers in fuzzKeys; the last is
// an unknown one.
var framingTokens = []string{"{full}", "{read}", "{soon}", "{revoked}", "", "{expired}", "{suspended}", "", "", "{unknown}"}

// framingSeeds returns what clients and attackers send.
func framingSeeds() []string {
	request := func(line string, fields ...string) string {
		return line + " HTTP/1.1\r\nHost: api.example.com\r\n" + strings.Join(fields, "") + "\r\n"
	}
	full, read := "Authorization: Bearer {full}\r\n", "Authorization: Bearer {read}\r\n"
	chunked := "Transfer-Encoding: chunked\r\n"
	forged := "X-Workspace-ID: evil\r\nx-workspace-id: evil\r\nX_Workspace_ID: evil\r\nX.Api.Key.Id: evil\r\nX-API-Key-Access: full_access\r\n"
	return []string{
		"",
		request("GET /", full),
		request("GET /", read, forged),
		request("POST /", read, "Content-Length: 3\r\n") + "abc",
		request("POST /", full, "Content-Length: 3\r\n") + "abc" + request("GET /", read),
		request("GET /", full) + request("DELETE /", read) + request("DELETE /", full) + request("GET /"),
		request("GET /", read, "Connection: X-Workspace-ID, x-api-key-id\r\nConnection: keep-alive, X-API-KEY-ACCESS\r\n"),
		request("GET /", full, "Connection: Upgrade, X-Workspace-ID\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"),
		request("GET /", read, "Connection: Upgrade\r\nUpgrade: websocket\r\n"),
		request("GET /", read, "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"),
		request("GET /", read, "X-HTTP-Method-Override: DELETE\r\n"),
		request("GET /", full, "X_HTTP_Method_Override: DELETE\r\nX.Method.Override: PUT\r\n"),
		request("POST /", full, chunked) + "3\r\nabc\r\n0\r\nX-Workspace-ID: evil\r\nAuthorization: evil\r\n\r\n",
		request("POST /", full, chunked, "Trailer: X-Workspace-ID, X_API_Key_ID\r\n") + "0\r\nX-Workspace-ID: evil\r\nX_API_Key_ID: evil\r\n\r\n",
		request("POST /", full, chunked, "Content-Length: 5\r\n") + "0\r\n\r\n" + request("GET /", full),
		request("POST /", full, "Content-Length: 4\r\nContent-Length: 5\r\n") + "abcde",
		request("POST /", full, "Content-Length: 4, 4\r\n") + "abcd",
		request("POST /", full, "Content-Length: +4\r\n") + "abcd",
		request("POST /", full, "Content-Length : 4\r\n") + "abcd",
		request("POST /", full, "Transfer-Encoding: identity, chunked\r\n") + "0\r\n\r\n",
		request("POST /", full, "Transfer-Encoding:\vchunked\r\n") + "0\r\n\r\n",
		request("POST /", full, "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n") + "0\r\n\r\n",
		request("POST /", full, chunked) + "0x3\r\nabc\r\n0\r\n\r\n",
		request("POST /", full, chunked) + "3;a=b\nabc\n0\n\n",
		request("POST /", full, chunked) + "-1\r\n" + request("GET /", full),
		request("POST /", full, chunked) + "ffffffffffffffff\r\n",
		request("GET /", full, "Content-Length: 52\r\n") + request("DELETE /", full),
		request("GET /", full, "X: a\r\n X-Workspace-ID: evil\r\n"),
		request("GET /", full, " X-Workspace-ID: evil\r\n"),
		request("GET /", full, "X-Workspace-ID : evil\r\n"),
		request("GET /", full, "X-Workspace-ID\x00: evil\r\nX: \x00\r\n"),
		request("GET /", full, "X: a\nX-Workspace-ID: evil\r\r\n"),
		strings.ReplaceAll(request("GET /", full, forged), "\r\n", "\n"),
		request("POST /", full, "Expect: 100-continue\r\nContent-Length: 3\r\n") + "abc",
		request("POST /", read, "Expect: 100-continue\r\nContent-Length: 300\r\n"),
		request("GET http://other.example/a", full),
		request("OPTIONS *", read),
		request("CONNECT other.example:443", full),
		request("TRACE /", full),
		request("get /", read),
		request("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nGET /", full),
		request("GET /%2e%2e/;/..//\\", read),
		request("GET /", full, read),
		request("GET /", "Authorization: Bearer {full}, Bearer {read}\r\n"),
		request("GET /", "Authorization: Bearer {revoked}\r\n") + request("GET /", "Authorization: Bearer {expired}\r\n"),
		request("GET /", "Authorization: Bearer {suspended}\r\n") + request("GET /", "Authorization: Bearer {unknown}\r\n"),
		request("GET /", "Authorization: bearer {soon}\r\nCookie: a={full}\r\nSec-Fetch-Site: same-origin\r\n"),
		"GET / HTTP/1.0\r\n" + full + "\r\n" + request("GET /", full),
		"GET / HTTP/1.0\r\nConnection: keep-alive\r\n" + full + chunked + "\r\n0\r\n\r\n",
		"GET /\r\n",
		"\r\n\r\n" + request("HEAD /", read),
	}
}
