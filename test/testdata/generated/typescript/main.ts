// A key's life, by the types that openapi-typescript makes of the API's
// description, and openapi-fetch.
import createClient from "openapi-fetch";
import type { paths } from "./schema.js";

declare const process: { env: Record<string, string> };

const api = createClient<paths>({
  baseUrl: process.env.ADMIN_API,
  headers: { Authorization: `Bearer ${process.env.ADMIN_TOKEN}` },
});
const ws = "acme";

const created = await api.POST("/workspaces/{ws}/keys", {
  params: { path: { ws } },
  body: { name: "Zapier production", preset: "read_only", owner: "Ops" },
});
if (created.error) throw new Error(`create: ${created.error.code}: ${created.error.error}`);
const { key, token } = created.data;

const again = await api.POST("/workspaces/{ws}/keys", {
  params: { path: { ws } },
  body: { name: "zapier PRODUCTION", preset: "full_access" },
});
if (again.error?.code !== "name_taken") throw new Error(`create again: got ${again.response.status}`);

const list = await api.GET("/workspaces/{ws}/keys", { params: { path: { ws }, query: { status: "active" } } });
if (list.data?.keys.length !== 1 || list.data.keys[0].id !== key.id) throw new Error(`list: got ${JSON.stringify(list.data)}`);

const revoked = await api.POST("/workspaces/{ws}/keys/{id}/revoke", { params: { path: { ws, id: key.id } }, body: {} });
if (revoked.data?.key.status !== "revoked" || revoked.data.key.revoked_at === null) {
  throw new Error(`revoke: got ${JSON.stringify(revoked.data)}`);
}
console.log(token);
