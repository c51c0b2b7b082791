curl --request POST \
  --url 'https://api.us.nylas.com/v3/webhooks/' \
  --header 'Content-Type: application/json' \
  --header 'Authorization: Bearer <NYLAS_API_KEY>' \
  --data-raw '{
    "trigger_types": ["message.opened", "message.link_clicked", "thread.replied"],
    "webhook_url": "https://yourapp.com/webhooks/nylas",
    "description": "Email engagement tracking"
  }'
