{
  "Job": {"ID": "web"}
}
