"""Home routers: namespaces with the kernel's own NAT, and the private networks behind them."""
