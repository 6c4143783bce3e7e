environment = "prod"
copies      = 2
greetings   = ["hello", "good evening"]
