"""The nftables rules of each kind of router, as text. WIRE is its device outward, HOME the one inward."""

from __future__ import annotations

from scripts.lab.homes.kinds import RouterKind

WIRE, HOME = "wan0", "lan0"
MAPPING_SECONDS = 120
"""How long a full cone lets anybody in after the host's last packet. RFC 4787 wants at least two minutes."""


def router_rules(kind: RouterKind, *, firewall6: bool) -> str:
    """The rules of one router. CARRIER is made of two of kind HOME and has none of its own."""
    udp = "meta l4proto udp drop" if kind is RouterKind.UDP_BLOCKED else ""
    open6 = "" if firewall6 else f'iifname "{WIRE}" meta nfproto ipv6 accept'
    masquerade = "masquerade fully-random" if kind is RouterKind.SYMMETRIC else "masquerade"
    # What comes in unasked is dropped before the kernel remembers it as a connection: else it would hold the
    # very port that the host's own packet needs a moment later.
    return f"""
table inet filter {{
    chain input {{
        type filter hook input priority filter; policy drop;
        {udp}
        ct state established,related accept
        iifname {{ "lo", "{HOME}" }} accept
        meta l4proto {{ icmp, ipv6-icmp }} accept
    }}
    chain forward {{
        type filter hook forward priority filter; policy drop;
        {udp}
        ct state established,related accept
        iifname "{HOME}" accept
        ct status dnat accept
        meta l4proto ipv6-icmp accept
        {open6}
    }}
}}
table ip nat {{
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        oifname "{WIRE}" {masquerade}
    }}
}}
{_cone_rules() if kind is RouterKind.FULL_CONE else ""}
"""


def _cone_rules() -> str:
    """Public ports and the hosts behind them, learned from what goes out after it got its public port."""
    maps, inward, learned = [], [], []
    for protocol in ("udp", "tcp"):
        maps.append(f"""
    map {protocol}_cone {{
        type inet_service : ipv4_addr . inet_service
        flags dynamic, timeout
        timeout {MAPPING_SECONDS}s
        size 65535
    }}""")
        inward.append(
            f'iifname "{WIRE}" meta l4proto {protocol} dnat to {protocol} dport map @{protocol}_cone'
        )
        host = "ct original ip saddr . ct original proto-src"
        learned.append(
            f'oifname "{WIRE}" meta l4proto {protocol} ct direction original '
            f"update @{protocol}_cone {{ {protocol} sport : {host} }}"
        )
    separator = "\n        "
    return f"""
table ip cone {{{"".join(maps)}
    chain prerouting {{
        type nat hook prerouting priority dstnat; policy accept;
        {separator.join(inward)}
    }}
    chain learn {{
        type filter hook postrouting priority srcnat + 10; policy accept;
        {separator.join(learned)}
    }}
}}
"""
