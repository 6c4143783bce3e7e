# Variables, locals, functions and dynamic blocks.
variable "n" {
  type    = number
  default = 3
}
variable "env" {
  default = "dev"
}
variables {
  tags = ["a", "b"]
}
locals {
  img = "app:${var.env}"
}
job "expressions" {
  name = "e-${var.env}"
  meta = { for i, t in var.tags : t => i }

  dynamic "group" {
    for_each = { small = 1, large = var.n }
    labels   = [group.key]
    content {
      count = group.value
      network {
        dynamic "port" {
          for_each = ["http", "admin"]
          iterator = p
          labels   = [p.value]
          content {
            to = 8000 + p.key
          }
        }
      }
      task "app" {
        driver = "raw_exec"
        config {
          command = local.img
          args    = [for t in var.tags : upper(t)]
          dynamic "mount" {
            for_each = var.tags
            content {
              source = mount.value
            }
          }
        }
        env {
          HOST     = "${var.env}-${attr.kernel.name}"
          BARE     = NOMAD_PORT_http
          QUOTED   = "${env["HOME"]}"
          ESCAPED  = "$${var.env}"
          CHOSEN   = "%{ if var.env == "dev" }x%{ else }y%{ endif }"
          COMPUTED = format("%s-%02d", var.env, var.n + 1)
        }
      }
    }
  }
}
