// The way by the official Node SDK up to the answer (answered.js); prints the ids of two messages that it sent, and of its webhook.
const Nylas = require("nylas").default;
const assert = require("node:assert");
const { apiUri, apiKey, hook } = JSON.parse(process.argv[2]);
const client = new Nylas({ apiUri, apiKey });
const identifier = "sales";
const to = [{ email: "kim@example.org", name: "Kim" }];
const body = '<html><body><p>See <a href="https://example.net/offer">this</a></p></body></html>';
const trackingOptions = { opens: true, links: true, threadReplies: true, label: "node" };
const send = (more) => client.messages.send({ identifier, requestBody: { to, body, trackingOptions, ...more } });

async function main() {
  const triggers = ["message.opened", "message.link_clicked", "thread.replied"];
  const made = (await client.webhooks.create({ requestBody: { triggerTypes: triggers, webhookUrl: hook } })).data;
  assert.ok(made.webhookSecret);
  const turned = (await client.webhooks.rotateSecret({ webhookId: made.id })).data;
  assert.notEqual(turned.webhookSecret, made.webhookSecret);
  const changed = await client.webhooks.update({ webhookId: made.id, requestBody: { description: "node" } });
  assert.equal(changed.data.description, "node");
  await client.webhooks.destroy({ webhookId: made.id });
  const webhook = (await client.webhooks.create({ requestBody: { triggerTypes: triggers, webhookUrl: hook } })).data;

  const metadata = { key2: "node", orderNumber: "7" };
  const small = (await send({ subject: "Node small", metadata })).data;
  const file = { filename: "big.bin", contentType: "application/octet-stream", size: 4000000,
                 content: Buffer.alloc(4000000, "x") };
  const large = (await send({ subject: "Node large", attachments: [file] })).data;
  const found = (await client.messages.find({ identifier, messageId: small.id })).data;
  assert.equal(found.subject, "Node small");
  assert.deepEqual(found.metadata, metadata);
  const same = (await client.messages.list({ identifier, queryParams: { metadataPair: { key2: "node" } } })).data;
  assert.deepEqual(same.map((each) => each.id), [small.id]);
  const threads = (await client.threads.list({ identifier })).data;
  assert.ok(threads.some((thread) => thread.id === found.threadId));

  const later = (await send({ subject: "Node later", sendAt: Math.floor(Date.now() / 1000) + 600 })).data;
  const scheduleId = later.scheduleId;
  const listed = (await client.messages.listScheduledMessages({ identifier })).data;
  assert.ok(listed.some((each) => each.scheduleId === scheduleId));
  await client.messages.stopScheduledMessage({ identifier, scheduleId });
  const stopped = (await client.messages.findScheduledMessage({ identifier, scheduleId })).data;
  assert.equal(stopped.status.code, "cancelled");

  const draft = (await client.drafts.create({ identifier, requestBody: { to, subject: "Node draft", body } })).data;
  await client.drafts.update({ identifier, draftId: draft.id, requestBody: { subject: "Node draft two" } });
  assert.ok((await client.drafts.list({ identifier })).data.some((each) => each.id === draft.id));
  assert.ok((await client.drafts.send({ identifier, draftId: draft.id })).data.id);
  const gone = (await client.drafts.create({ identifier, requestBody: { to, subject: "Gone" } })).data;
  await client.drafts.destroy({ identifier, draftId: gone.id });

  await assert.rejects(client.messages.find({ identifier, messageId: "none" }), (told) => {
    assert.equal(told.constructor.name, "NylasApiError");
    assert.ok(told.requestId);
    return true;
  });
  console.log(JSON.stringify([small.id, large.id, webhook.id]));
}

main().catch((reason) => { console.error(reason); process.exit(1); });
