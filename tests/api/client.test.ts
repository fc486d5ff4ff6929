// A client generated from the OpenAPI document, before the running platform: what does not agree with
// the document does not compile, what does not agree with the platform fails.

import assert from "node:assert/strict";
import { createHmac, randomUUID } from "node:crypto";
import test from "node:test";
import createClient from "openapi-fetch";
import type { paths } from "./generated.js";

const environment = (name: string): string => {
  const value = process.env[name];
  assert.ok(value, `${name} is not set; cargo xtask api sets it`);
  return value;
};

const baseUrl = environment("MAINSTAY_API_URL");
const administrator = JSON.parse(environment("MAINSTAY_API_ADMINISTRATOR"));
const webhookSecret = environment("MAINSTAY_API_WEBHOOK_SECRET");

// The limits of sign-ups and logins are for each address, which all tests here share.
const anonymous = createClient<paths>({ baseUrl });

const loggedIn = async (credentials: { email: string; password: string }) => {
  const { data, error } = await anonymous.POST("/api/v1/auth/login", { body: credentials });
  assert.ok(data, JSON.stringify(error));
  return createClient<paths>({ baseUrl, headers: { authorization: `Bearer ${data.data.access_token}` } });
};

const register = async () => {
  const email = `${randomUUID()}@example.com`;
  const credentials = { email, password: "a long enough password" };
  const { data, error } = await anonymous.POST("/api/v1/auth/register", {
    body: { ...credentials, display_name: "Ada" },
  });
  assert.ok(data, JSON.stringify(error));
  return { credentials, id: data.data.id };
};

// Errors have two forms; the other one, of RFC 9457, has to be asked for.
const refusal = <T extends object>(error: T | undefined): Extract<T, { error: unknown }>["error"] => {
  assert.ok(error && "error" in error, JSON.stringify(error));
  return (error as Extract<T, { error: unknown }>).error;
};

// What follows from events takes a moment.
const eventually = async <T>(ask: () => Promise<T | undefined>): Promise<T> => {
  for (let tries = 0; tries < 100; tries += 1) {
    const found = await ask();
    if (found !== undefined) return found;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.fail("it did not come about within 10 s");
};

test("who registers logs in, and is who they are", async () => {
  const { credentials, id } = await register();
  const client = await loggedIn(credentials);
  const { data } = await client.GET("/api/v1/users/me");
  assert.equal(data?.data.id, id);
  assert.equal(data?.data.email, credentials.email);

  const renamed = await client.PATCH("/api/v1/users/me", { body: { display_name: "Ada Lovelace" } });
  assert.equal(renamed.data?.data.display_name, "Ada Lovelace");
});

test("an error has the form of the document", async () => {
  const { error, response } = await anonymous.POST("/api/v1/auth/register", {
    body: { email: "no address", password: "short" },
  });
  assert.equal(response.status, 400);
  const { code, details, request_id } = refusal(error);
  assert.equal(code, "INVALID_ARGUMENT");
  assert.deepEqual(details.map((detail) => detail.field).sort(), ["email", "password"]);
  assert.ok(request_id);
});

test("a list is read page by page, everybody once", async () => {
  const ids = new Set<string | undefined>();
  for (let people = 0; people < 3; people += 1) ids.add((await register()).id);
  const client = await loggedIn(administrator);
  const seen = await eventually(async () => {
    const seen: string[] = [];
    let cursor: string | undefined;
    do {
      const query = cursor ? { page_size: 2, cursor } : { page_size: 2 };
      const { data, error } = await client.GET("/api/v1/users", { params: { query } });
      assert.ok(data, JSON.stringify(error));
      assert.ok(data.data.length <= 2);
      for (const user of data.data) seen.push(user.id ?? "");
      cursor = data.meta.next_cursor;
    } while (cursor);
    return [...ids].every((id) => id && seen.includes(id)) ? seen : undefined;
  });
  assert.equal(new Set(seen).size, seen.length);
});

test("an upload arrives as it was signed", async () => {
  const report = JSON.stringify({
    id: `evt_${randomUUID()}`,
    type: "invoice.upcoming",
    created: Math.floor(Date.now() / 1000),
    data: { object: {} },
  });
  const time = Math.floor(Date.now() / 1000);
  const signature = createHmac("sha256", webhookSecret).update(`${time}.${report}`).digest("hex");
  const upload = (signature: string) =>
    anonymous.POST("/api/v1/billing/webhook", {
      params: { header: { "stripe-signature": `t=${time},v1=${signature}` } },
      headers: { "content-type": "application/json" },
      body: report,
      bodySerializer: (body) => body as string,
    });
  const taken = await upload(signature);
  assert.equal(taken.response.status, 200, JSON.stringify(taken.error));
  assert.equal(taken.data?.data.applied, false, "nothing follows from a report of this kind");

  const forged = await upload(signature.replace(/^./, (digit) => (digit === "0" ? "1" : "0")));
  assert.equal(forged.response.status, 400);
  assert.equal(refusal(forged.error).code, "WEBHOOK_SIGNATURE_INVALID");
});
