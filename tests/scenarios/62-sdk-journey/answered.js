// The rest of the way: what thread.replied told is found, and answered; prints the id of that.
const Nylas = require("nylas").default;
const assert = require("node:assert");
const { apiUri, apiKey, answer, webhook } = JSON.parse(process.argv[2]);
const client = new Nylas({ apiUri, apiKey });
const identifier = "sales";

async function main() {
  const found = (await client.messages.find({ identifier, messageId: answer.message_id })).data;
  assert.equal(found.from[0].email, "kim@example.org");
  assert.equal(found.threadId, answer.thread_id);
  const thread = (await client.threads.find({ identifier, threadId: answer.thread_id })).data;
  for (const id of [answer.root_message_id, answer.message_id]) assert.ok(thread.messageIds.includes(id));

  const requestBody = { to: found.from, subject: "Re: Node small", body: "Thanks", replyToMessageId: answer.message_id };
  const third = (await client.messages.send({ identifier, requestBody })).data;
  assert.equal(third.threadId, answer.thread_id);

  const all = [];
  for await (const page of client.messages.list({ identifier, queryParams: { limit: 2 } })) all.push(...page.data);
  const ids = all.map((each) => each.id);
  assert.equal(new Set(ids).size, ids.length);
  for (const id of [answer.root_message_id, third.id]) assert.ok(ids.includes(id));

  const absent = [
    () => client.messages.update({ identifier, messageId: third.id, requestBody: { starred: true } }),
    () => client.messages.destroy({ identifier, messageId: third.id }),
    () => client.threads.destroy({ identifier, threadId: answer.thread_id }),
    () => client.folders.list({ identifier }),
    () => client.attachments.find({ identifier, attachmentId: "none", queryParams: { messageId: third.id } }),
    () => client.messages.find({ identifier, messageId: third.id, queryParams: { fields: "raw_mime" } }),
  ];
  for (const call of absent) {
    await assert.rejects(call(), (told) => told.constructor.name === "NylasApiError" && Boolean(told.requestId));
  }
  await client.webhooks.destroy({ webhookId: webhook });
  console.log(JSON.stringify(third.id));
}

main().catch((reason) => { console.error(reason); process.exit(1); });
