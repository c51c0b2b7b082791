curl --request POST \
  --url 'https://api.us.nylas.com/v3/grants/<NYLAS_GRANT_ID>/messages/send' \
  --header 'Content-Type: application/json' \
  --header 'Authorization: Bearer <NYLAS_API_KEY>' \
  --data-raw '{
    "subject": "Quick follow-up on your trial",
    "body": "Thanks for trying us out. Reply or <a href=\"https://example.com/demo\">book a demo</a> when ready.",
    "to": [{ "name": "Kim Townsend", "email": "[email protected]" }],
    "tracking_options": { "opens": true, "links": true, "thread_replies": true, "label": "trial-followup-q2" }
  }'
