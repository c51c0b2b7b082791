const Nylas = require("nylas").default;
const nylas = new Nylas({ apiKey: "<NYLAS_API_KEY>" });
const message = await nylas.messages.send({
  identifier: "<NYLAS_GRANT_ID>",
  requestBody: {
    subject: "Quick follow-up on your trial",
    body: 'Thanks for trying us out. Reply or <a href="https://example.com/demo">book a demo</a> when ready.',
    trackingOptions: { opens: true, links: true, threadReplies: true, label: "trial-followup-q2", },
  },
});
console.log(`Sent message ${message.data.id}`);
