# One of three servers. Change the addresses, then on each machine:
#
#   orch agent -config=server.hcl
datacenter = "dc1"
data_dir   = "/var/lib/orch"
bind_addr  = "10.0.0.11"

ports {
  http = 4646
  rpc  = 4647
  serf = 4648
}

server {
  enabled          = true
  bootstrap_expect = 3

  server_join {
    retry_join     = ["10.0.0.11", "10.0.0.12", "10.0.0.13"]
    retry_interval = "15s"
  }
}

leave_on_terminate = false
