# Warnings have places, too; so do features that are not built yet.
job "web" {
  group "app" {
    max_client_disconnect = "1h"
    network {
      mode  = "bridge"
      mbits = 10
      port "http" {}
    }
    service {
      name     = "web"
      provider = "nomad"
      port     = "http"
      check {
        type      = "tcp"
        interval  = "10s"
        timeout   = "2s"
        advertise = "x"
      }
    }
    task "t" {
      driver = "raw_exec"
      logs {
        enabled = false
      }
      artifact {
        source = "https://example.org/a.tgz"
      }
    }
  }
}
