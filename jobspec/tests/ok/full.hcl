# Every block and attribute outside the mesh, each with a value that is not its default.
job "full" {
  id          = "full-1"
  name        = "Full"
  region      = "eu"
  namespace   = "apps"
  type        = "batch"
  priority    = 70
  all_at_once = true
  datacenters = ["dc1", "eu-*"]
  node_pool   = "big"

  meta {
    owner = "team"
    build = 7
  }

  constraint {
    attribute = "${attr.kernel.name}"
    value     = "linux"
  }

  affinity {
    attribute = "${node.class}"
    operator  = "!="
    value     = "slow"
    weight    = -50
  }

  spread {
    attribute = "${node.datacenter}"
    weight    = 80
    target "dc1" {
      percent = 70
    }
    target "dc2" {
      percent = 30
    }
  }

  update {
    stagger           = "20s"
    max_parallel      = 2
    health_check      = "task_states"
    min_healthy_time  = "15s"
    healthy_deadline  = "4m"
    progress_deadline = "9m"
    auto_revert       = true
    auto_promote      = true
    canary            = 1
  }

  reschedule {
    attempts       = 3
    interval       = "1h"
    delay          = "10s"
    delay_function = "fibonacci"
    max_delay      = "5m"
    unlimited      = true
  }

  migrate {
    max_parallel     = 3
    health_check     = "task_states"
    min_healthy_time = "12s"
    healthy_deadline = "3m"
  }

  multiregion {
    strategy {
      max_parallel = 1
      on_failure   = "fail_all"
    }
    region "west" {
      count       = 2
      datacenters = ["west-1"]
      node_pool   = "w"
      meta {
        coast = "yes"
      }
    }
  }

  periodic {
    enabled          = false
    cron             = "0 * * * *"
    crons            = ["@daily"]
    prohibit_overlap = true
    time_zone        = "Europe/Berlin"
  }

  parameterized {
    payload       = "required"
    meta_required = ["a"]
    meta_optional = ["b"]
  }

  ui {
    description = "A job."
    link {
      label = "docs"
      url   = "https://example.org"
    }
  }

  group "web" {
    count                        = 3
    shutdown_delay               = "3s"
    max_run_duration             = "1h"
    stop_after_client_disconnect = "1m"
    max_client_disconnect        = "2m"
    prevent_reschedule_on_lost   = true

    meta = {
      "a.b" = "c"
    }

    constraint {
      operator = "distinct_hosts"
    }

    affinity {
      attribute = "${meta.rack}"
      value     = "r1"
    }

    spread {
      attribute = "${meta.rack}"
    }

    update {
      canary = 2
    }

    reschedule {
      attempts       = 2
      interval       = "2h"
      delay          = "11s"
      delay_function = "constant"
      max_delay      = "6m"
      unlimited      = true
    }

    migrate {
      max_parallel = 4
    }

    restart {
      attempts         = 5
      interval         = "10m"
      delay            = "25s"
      mode             = "delay"
      render_templates = true
    }

    disconnect {
      lost_after           = "6h"
      stop_on_client_after = "1h"
      replace              = false
      reconcile            = "keep_original"
    }

    ephemeral_disk {
      sticky  = true
      migrate = true
      size    = 500
    }

    scaling {
      enabled = false
      min     = 1
      max     = 5
      policy {
        cooldown = "1m"
        check "load" {
          source = "prometheus"
        }
      }
    }

    consul {
      namespace = "ns"
      cluster   = "second"
      partition = "p"
    }

    network {
      mode     = "bridge"
      mbits    = 10
      hostname = "web"
      device   = "eth0"
      cidr     = "10.0.0.0/8"
      ip       = "10.0.0.1"
      dns {
        servers  = ["1.1.1.1"]
        searches = ["example.org"]
        options  = ["rotate"]
      }
      cni {
        args = {
          "nat" = "yes"
        }
      }
      port "http" {
        to = 8080
      }
      port "db" {
        static           = 5432
        host_network     = "private"
        ignore_collision = true
      }
      reserved_ports "old" {
        static = 99
      }
    }

    volume "data" {
      type            = "csi"
      source          = "data"
      read_only       = true
      sticky          = true
      per_alloc       = true
      access_mode     = "single-node-writer"
      attachment_mode = "file-system"
      mount_options {
        fs_type     = "ext4"
        mount_flags = ["noatime"]
      }
    }

    service {
      name                = "web"
      provider            = "nomad"
      port                = "http"
      address_mode        = "alloc"
      address             = "10.1.1.1"
      tags                = ["a"]
      canary_tags         = ["b"]
      enable_tag_override = true
      task                = "app"
      on_update           = "ignore"
      cluster             = "second"
      kind                = "api-gateway"
      meta {
        k = "v"
      }
      canary_meta {
        k = "w"
      }
      tagged_addresses {
        lan = "10.1.1.2"
      }
      weights {
        passing = 3
        warning = 2
      }
      identity {
        name          = "consul"
        aud           = ["consul.io"]
        change_mode   = "signal"
        change_signal = "SIGHUP"
        env           = true
        file          = true
        filepath      = "secrets/consul.jwt"
        service_name  = "web"
        ttl           = "1h"
        extra_claims  = ["team"]
      }
      check_restart {
        limit           = 3
        grace           = "90s"
        ignore_warnings = true
      }
      check {
        name                     = "alive"
        type                     = "http"
        interval                 = "10s"
        timeout                  = "2s"
        path                     = "/ok"
        method                   = "POST"
        body                     = "x"
        protocol                 = "https"
        port                     = "http"
        address_mode             = "driver"
        command                  = "/bin/check"
        args                     = ["-v"]
        task                     = "app"
        initial_status           = "passing"
        success_before_passing   = 1
        failures_before_critical = 2
        failures_before_warning  = 3
        grpc_service             = "s"
        grpc_use_tls             = true
        tls_skip_verify          = true
        tls_server_name          = "web.example.org"
        notes                    = "n"
        expose                   = true
        on_update                = "ignore_warnings"
        header {
          Authorization = ["x"]
        }
        check_restart {
          limit = 5
        }
      }
    }

    task "app" {
      driver         = "docker"
      user           = "nobody"
      leader         = true
      kill_timeout   = "20s"
      kill_signal    = "SIGTERM"
      shutdown_delay = "4s"
      kind           = "connect-native:web"

      config {
        image   = "shop:1"
        volumes = ["a:b"]
        labels {
          tier = "web"
        }
        mount {
          type = "bind"
        }
        mount {
          type = "tmpfs"
        }
        logging "json" "fast" {
          size = 1.5
        }
        auth = {
          username = "u"
        }
      }

      env {
        LOG  = "info"
        PORT = 8080
      }

      meta {
        m = true
      }

      constraint {
        attribute = "${attr.cpu.arch}"
        operator  = "regexp"
        value     = "amd64|arm64"
      }

      affinity {
        attribute        = "${meta.tags}"
        set_contains_any = "a,b"
      }

      resources {
        cpu        = 500
        cores      = 2
        memory     = 128
        memory_max = 256
        secrets    = 2
        disk       = 10
        iops       = 5
        network {
          port "admin" {}
        }
        device "nvidia/gpu" {
          count = 2
          constraint {
            attribute = "${device.attr.memory}"
            operator  = ">="
            value     = "4 GiB"
          }
          affinity {
            attribute = "${device.model}"
            value     = "1080ti"
          }
        }
        numa {
          affinity = "prefer"
          devices  = ["nvidia/gpu"]
        }
      }

      restart {
        attempts = 1
      }

      service {
        name = "app"
      }

      lifecycle {
        hook    = "prestart"
        sidecar = true
      }

      logs {
        max_files     = 4
        max_file_size = 5
        disabled      = true
      }

      dispatch_payload {
        file = "in.json"
      }

      consul {
        cluster = "second"
      }

      vault {
        role                   = "r"
        cluster                = "second"
        namespace              = "ns"
        env                    = false
        disable_file           = true
        change_mode            = "signal"
        change_signal          = "SIGUSR1"
        allow_token_expiration = true
      }

      secret "db" {
        provider = "vault"
        path     = "kv/db"
        config {
          engine = "kv_v2"
        }
        env {
          A = "b"
        }
      }

      identity {
        env = true
      }

      identity {
        name          = "aws"
        env           = true
        aud           = ["aws"]
        change_mode   = "signal"
        change_signal = "SIGHUP"
        file          = true
        filepath      = "secrets/aws.jwt"
        service_name  = "s"
        ttl           = "30m"
        extra_claims  = ["team"]
      }

      template {
        source               = "local/a.tpl"
        destination          = "local/a"
        change_mode          = "script"
        change_signal        = "SIGHUP"
        once                 = true
        splay                = "1s"
        perms                = "600"
        uid                  = 100
        gid                  = 101
        left_delimiter       = "[["
        right_delimiter      = "]]"
        env                  = true
        vault_grace          = "1s"
        error_on_missing_key = true
        change_script {
          command             = "/bin/reload"
          args                = ["-q"]
          timeout             = "7s"
          fail_on_error       = true
          run_on_first_render = true
        }
        wait {
          min = "2s"
          max = "9s"
        }
      }

      template {
        data        = <<-EOH
          {{ key "a" }} = ${attr.unique.hostname}
            indented
        EOH
        destination = "local/b"
      }

      artifact {
        source      = "https://example.org/a.tgz"
        destination = "local/a"
        mode        = "file"
        insecure    = true
        chown       = true
        options {
          checksum = "md5:d41d8cd98f00b204e9800998ecf8427e"
        }
        headers {
          X-Token = "t"
        }
      }

      volume_mount {
        volume           = "data"
        destination      = "/data"
        read_only        = true
        propagation_mode = "bidirectional"
        selinux_label    = "Z"
      }

      scaling "cpu" {
        min = 100
        max = 1000
        policy {
          cooldown = "5m"
        }
      }
      scaling "mem" {
        max = 512
      }

      csi_plugin {
        id                     = "p"
        type                   = "monolith"
        mount_dir              = "/mnt"
        stage_publish_base_dir = "/base"
        health_timeout         = "1m"
      }

      action "dump" {
        command = "/bin/dump"
        args    = ["-a"]
      }

      schedule {
        cron {
          start    = "0 9 * * 1-5 *"
          end      = "0 17"
          timezone = "Europe/Berlin"
        }
      }
    }
  }
}
