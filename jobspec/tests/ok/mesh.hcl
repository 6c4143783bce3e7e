# Consul's service mesh: a sidecar, and each kind of gateway.
job "mesh" {
  group "native" {
    service {
      name = "native"
      task = "app"
      connect {
        native = true
      }
    }
    task "app" {
      driver = "docker"
    }
  }

  group "sidecar" {
    service {
      connect {
        sidecar_service {
          tags                      = ["t"]
          port                      = "proxy"
          disable_default_tcp_check = true
          meta {
            k = "v"
          }
          proxy {
            local_service_address = "127.0.0.1"
            local_service_port    = 80
            config {
              protocol = "http"
            }
            upstreams {
              destination_name        = "db"
              destination_namespace   = "ns"
              destination_peer        = "peer"
              destination_partition   = "part"
              destination_type        = "service"
              local_bind_port         = 5000
              datacenter              = "dc2"
              local_bind_address      = "127.0.0.2"
              local_bind_socket_path  = "/s"
              local_bind_socket_mode  = "0600"
              mesh_gateway {
                mode = "local"
              }
              config {
                a = 1
              }
            }
            expose {
              path {
                path            = "/metrics"
                protocol        = "http"
                local_path_port = 9090
                listener_port   = "metrics"
              }
            }
            transparent_proxy {
              uid                    = "101"
              outbound_port          = 15001
              exclude_inbound_ports  = ["ssh"]
              exclude_outbound_ports = [443, 8443]
              exclude_outbound_cidrs = ["10.0.0.0/8"]
              exclude_uids           = ["0"]
              no_dns                 = true
            }
          }
        }
        sidecar_task {
          name           = "proxy"
          driver         = "docker"
          user           = "u"
          kill_timeout   = "6s"
          shutdown_delay = "2s"
          kill_signal    = "SIGINT"
          config {
            image = "envoy"
          }
          env {
            A = "b"
          }
          meta {
            m = "n"
          }
          resources {
            cpu = 50
          }
          logs {
            max_files = 2
          }
          volume_mount {
            volume      = "v"
            destination = "/v"
          }
          identity {
            name = "i"
          }
        }
      }
    }
    task "app" {
      driver = "docker"
    }
  }

  group "gateways" {
    service {
      name = "in"
      connect {
        gateway {
          proxy {
            connect_timeout                     = "7s"
            envoy_gateway_bind_tagged_addresses = true
            envoy_gateway_no_default_bind       = true
            envoy_dns_discovery_type            = "LOGICAL_DNS"
            envoy_gateway_bind_addresses "lan" {
              address = "10.0.0.1"
              port    = 8443
            }
            config {
              a = "b"
            }
          }
          ingress {
            tls {
              enabled         = true
              tls_min_version = "TLSv1_2"
              tls_max_version = "TLSv1_3"
              cipher_suites   = ["c"]
              sds {
                cluster_name  = "sds"
                cert_resource = "cert"
              }
            }
            listener {
              port     = 8080
              protocol = "http"
              service {
                name                    = "web"
                hosts                   = ["example.org"]
                max_connections         = 1
                max_pending_requests    = 2
                max_concurrent_requests = 3
                tls {
                  enabled = true
                }
                request_headers {
                  add {
                    a = "b"
                  }
                  set {
                    c = "d"
                  }
                  remove = ["e"]
                }
                response_headers {
                  add {
                    g = "h"
                  }
                  set {
                    i = "j"
                  }
                  remove = ["f"]
                }
              }
            }
            listener {
              port = 9000
            }
          }
        }
      }
    }
    service {
      name = "out"
      connect {
        gateway {
          terminating {
            service {
              name      = "legacy"
              ca_file   = "/ca"
              cert_file = "/cert"
              key_file  = "/key"
              sni       = "legacy.example.org"
            }
          }
        }
      }
    }
    service {
      name = "between"
      connect {
        gateway {
          mesh {}
        }
      }
    }
  }
}
