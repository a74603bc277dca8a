// An example of a webhook: it mails what happens to keys.
//
//     npm install standardwebhooks nodemailer
//
// It reads its configuration from the environment: WEBHOOK_SECRET, as the gateway has it;
// SMTP, the host and port of a mail server on this machine, because the mail is not
// encrypted; MAIL_FROM, MAIL_TO; and LISTEN, the address to listen on, by default
// 127.0.0.1:8025.
import { createServer } from "node:http";
import nodemailer from "nodemailer";
import { Webhook } from "standardwebhooks";

const { WEBHOOK_SECRET, SMTP, MAIL_FROM, MAIL_TO, LISTEN = "127.0.0.1:8025" } = process.env;
if (!WEBHOOK_SECRET || !SMTP) {
	console.error("Set WEBHOOK_SECRET, SMTP, MAIL_FROM and MAIL_TO.");
	process.exit(1);
}
const verifier = new Webhook(WEBHOOK_SECRET);
const [host, port] = SMTP.split(":");
const mails = nodemailer.createTransport({ host, port: Number(port), ignoreTLS: true });
const seen = new Map(); // the messages that were mailed, by id. Keep them in a database if a second mail would do harm

createServer(async (request, response) => {
	try {
		response.writeHead(await receive(request)).end();
	} catch (error) {
		console.error(error.message);
		response.writeHead(503).end(); // the gateway tries again
	}
}).listen(Number(LISTEN.split(":")[1]), LISTEN.split(":")[0]);

async function receive(request) {
	const body = await text(request);
	let message;
	try {
		message = verifier.verify(body, request.headers); // over the bytes as they arrived
	} catch {
		return 401;
	}
	const id = request.headers["webhook-id"];
	if (!seen.has(id) && message.data.key) {
		await mail(message);
		seen.set(id, Date.now());
		forget();
	}
	return 204;
}

async function text(request) {
	const chunks = [];
	let size = 0;
	for await (const chunk of request) {
		if ((size += chunk.length) > 64 * 1024) throw new Error("the message is too long");
		chunks.push(chunk);
	}
	return Buffer.concat(chunks).toString("utf8");
}

async function mail({ type, data: { workspace_id: workspace, key } }) {
	await mails.sendMail({
		from: MAIL_FROM,
		to: MAIL_TO,
		subject: `${type}: ${key.name} in ${workspace}`,
		text: `The key "${key.name}" (${key.id}, owner "${key.owner}") of the workspace ${workspace}: ${type}. Its lifetime ends at ${key.expires_at}.\n`,
	});
}

// Forgets messages that the gateway does not send any more.
function forget() {
	for (const [id, at] of seen) if (Date.now() - at > 4 * 24 * 3600 * 1000) seen.delete(id);
}
