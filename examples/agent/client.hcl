# A node that runs tasks. Change the addresses, then:
#
#   orch agent -config=client.hcl
datacenter = "dc1"
data_dir   = "/var/lib/orch"
bind_addr  = "10.0.0.21"

client {
  enabled    = true
  node_class = "small"
  servers    = ["10.0.0.11", "10.0.0.12", "10.0.0.13"]

  meta {
    rack = "r1"
  }

  # What the machine itself needs is not given to tasks.
  reserved {
    cpu    = 200
    memory = 256
    disk   = 1024
  }
}

# Programs of raw_exec see the whole machine, so it is off unless said otherwise.
plugin "raw_exec" {
  config {
    enabled = true
  }
}
