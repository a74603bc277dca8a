// node upload.mjs fetch|http URL TOKENS SIZE...: posts bodies of these sizes with each of the tokens, which commas
// separate, and prints what was answered to each.
import http from "node:http";
import https from "node:https";

const [by, url, tokens, ...sizes] = process.argv.slice(2);

async function byFetch(headers, body) {
	const answer = await fetch(url, {method: "POST", headers, body});
	return `${answer.status} ${(await answer.text()).trim()}`;
}

function byHTTP(headers, body) {
	const {request} = url.startsWith("https:") ? https : http;
	return new Promise((resolve, reject) => {
		const sent = request(url, {method: "POST", headers: {...headers, "Content-Length": body.length}}, async (answer) => {
			let text = "";
			for await (const piece of answer) text += piece;
			resolve(`${answer.statusCode} ${text.trim()}`);
		});
		sent.on("error", reject);
		sent.end(body);
	});
}

for (const token of tokens.split(",")) {
	const headers = token ? {Authorization: `Bearer ${token}`} : {};
	for (const size of sizes) {
		const body = Buffer.alloc(Number(size));
		try {
			console.log(await (by === "fetch" ? byFetch(headers, body) : byHTTP(headers, body)));
		} catch (error) {
			console.log(`${size} bytes: ${error.cause ?? error}`);
		}
	}
}
