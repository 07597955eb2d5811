"""Where signals come from: this machine, an MQTT broker, Home Assistant, files and commands."""
