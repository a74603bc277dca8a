// node client.mjs METHOD URL TOKEN: prints the status and the body.
const [method, url, token] = process.argv.slice(2);
const body = method === "POST" ? JSON.stringify({name: "Ada"}) : undefined;
const answer = await fetch(url, {method, body, headers: {Authorization: `Bearer ${token}`}});
console.log(answer.status, (await answer.text()).trim());
