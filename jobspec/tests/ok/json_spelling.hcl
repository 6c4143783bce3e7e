{
  "variable": {"n": {"default": 2}},
  "job": {
    "web": {
      "datacenters": ["dc1"],
      "meta": {"owner": "team"},
      "group": {
        "app": {
          "count": "${var.n}",
          "network": {"port": {"http": {}, "db": {"static": 5432}}},
          "service": [{"name": "one"}, {"name": "two"}],
          "task": {
            "server": {
              "driver": "raw_exec",
              "config": {"command": "/bin/server", "args": ["${NOMAD_PORT_http}"]},
              "env": {"A": 1}
            }
          }
        }
      }
    }
  }
}
