# One file for several environments: what differs are variables.
#
#   orch job run -var-file=variables.vars.hcl variables.hcl
#   orch job run -var 'greetings=["hello"]' variables.hcl
variable "environment" {
  type        = string
  description = "Where the job runs; becomes part of its name."
  default     = "dev"

  validation {
    condition     = contains(["dev", "test", "prod"], var.environment)
    error_message = "The environment must be dev, test or prod."
  }
}

variable "copies" {
  type    = number
  default = 1
}

variable "greetings" {
  type    = list(string)
  default = ["hello", "good morning"]
}

locals {
  # In production every greeter gets more memory.
  memory = var.environment == "prod" ? 64 : 32
}

job "greet" {
  name = "greet-${var.environment}"

  meta {
    environment = var.environment
  }

  # One group for each greeting: greeter-0, greeter-1 ..
  dynamic "group" {
    for_each = var.greetings
    iterator = greeting
    labels   = ["greeter-${greeting.key}"]

    content {
      count = var.copies

      task "greet" {
        driver = "raw_exec"

        config {
          command = "/bin/sh"
          args    = ["-c", "while true; do echo \"$GREETING from ${attr.unique.hostname}\"; sleep 5; done"]
        }

        env {
          GREETING = title(greeting.value)
        }

        resources {
          cpu    = 50
          memory = local.memory
        }
      }
    }
  }
}
