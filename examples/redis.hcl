# A Redis server on a port of the node; redis-server must be installed there.
job "redis" {
  type     = "service"
  priority = 60

  # One copy needs a Linux node.
  constraint {
    attribute = "${attr.kernel.name}"
    value     = "linux"
  }

  group "cache" {
    network {
      port "redis" {}
    }

    service {
      name     = "redis"
      port     = "redis"
      provider = "nomad"
      tags     = ["cache"]

      check {
        type     = "tcp"
        interval = "10s"
        timeout  = "2s"
      }
    }

    task "redis" {
      driver = "raw_exec"

      config {
        command = "redis-server"
        args = [
          "--port", "${NOMAD_PORT_redis}",
          "--bind", "${NOMAD_IP_redis}",
          "--dir", "${NOMAD_ALLOC_DIR}/data",
          "--maxmemory", "48mb",
          "--save", "",
        ]
      }

      # Redis ends cleanly on SIGTERM.
      kill_signal  = "SIGTERM"
      kill_timeout = "10s"

      resources {
        cpu    = 200
        memory = 64
      }
    }
  }
}
