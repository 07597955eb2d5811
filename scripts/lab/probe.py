"""The program that `wan_lab check` runs on the lab's hosts: one end answers, the other measures.

    probe.py serve ADDRESS
    probe.py ping ADDRESS COUNT INTERVAL_SECONDS
    probe.py stream ADDRESS SECONDS WARM_UP_SECONDS
    probe.py count ADDRESS PACKETS PACKETS_PER_SECOND PAYLOAD_BYTES

It is run by its path with nothing but the standard library; what it measured is one JSON object on stdout.
"""

from __future__ import annotations

import json
import socket
import statistics
import struct
import sys
import threading
import time

ECHO_PORT, COUNT_PORT, CONTROL_PORT = 5001, 5002, 5003
READY = "ready"
SILENCE_SECONDS = 2.0
BURST_SECONDS = 0.002
CHUNK = bytes(1 << 17)


def serve(address: str) -> None:
    """Echo pings, count packets, and receive streams, until killed."""
    echo, counted = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    echo.bind((address, ECHO_PORT))
    counted.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    counted.bind((address, COUNT_PORT))
    control = socket.create_server((address, CONTROL_PORT))
    arrivals = [0, 0.0, 0.0]  # the number of packets, the first one's time, the last one's time

    def echo_forever() -> None:
        while True:
            echo.sendto(*echo.recvfrom(2048))

    def count_forever() -> None:
        while True:
            counted.recv(2048)
            arrivals[2] = time.monotonic()
            arrivals[1] = arrivals[1] or arrivals[2]
            arrivals[0] += 1

    threading.Thread(target=echo_forever, daemon=True).start()
    threading.Thread(target=count_forever, daemon=True).start()
    print(READY, flush=True)
    while True:
        connection, _ = control.accept()
        with connection:
            (warm_up_seconds,) = struct.unpack("!d", connection.recv(8, socket.MSG_WAITALL))
            if warm_up_seconds < 0:
                connection.sendall(json.dumps([arrivals[0], arrivals[2] - arrivals[1]]).encode())
                arrivals[:] = [0, 0.0, 0.0]
            else:
                connection.sendall(json.dumps([receive(connection, warm_up_seconds)]).encode())


def receive(connection: socket.socket, warm_up_seconds: float) -> float:
    """Bits per second of payload, from the end of the warm-up to the last byte."""
    buffer = bytearray(1 << 20)
    started = time.monotonic()
    begun_at = ended_at = started
    total = begun_total = 0
    while size := connection.recv_into(buffer):
        total += size
        ended_at = time.monotonic()
        if begun_at == started and ended_at - started >= warm_up_seconds:
            begun_at, begun_total = ended_at, total
    return 8 * (total - begun_total) / (ended_at - begun_at) if ended_at > begun_at else 0.0


def ask(address: str, warm_up_seconds: float) -> socket.socket:
    """Serve a connection that may carry streams; negative seconds ask for the count, and reset it."""
    connection = socket.create_connection((address, CONTROL_PORT), timeout=30)
    connection.sendall(struct.pack("!d", warm_up_seconds))
    return connection


def answer(connection: socket.socket) -> list[float]:
    """The numbers that the other end sends before it closes the connection."""
    text = b""
    while part := connection.recv(1024):
        text += part
    numbers: list[float] = json.loads(text)
    return numbers


def ping(address: str, count: int, interval_seconds: float) -> dict[str, float]:
    """Measure round trips of small UDP packets, one at a time."""
    seconds: list[float] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as echo:
        echo.connect((address, ECHO_PORT))
        echo.settimeout(SILENCE_SECONDS)
        for number in range(count):
            sent_at = time.perf_counter()
            echo.send(struct.pack("!i", number))
            try:
                while struct.unpack("!i", echo.recv(16)) != (number,):
                    pass
            except TimeoutError:
                continue
            seconds.append(time.perf_counter() - sent_at)
            time.sleep(interval_seconds)
    if not seconds:
        return {"answered": 0}
    return {
        "answered": len(seconds),
        "median_seconds": statistics.median(seconds),
        "least_seconds": min(seconds),
        "most_seconds": max(seconds),
    }


def stream(address: str, seconds: float, warm_up_seconds: float) -> dict[str, float]:
    """Measure what one TCP connection carries, counted where it arrives."""
    with ask(address, warm_up_seconds) as connection:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            connection.sendall(CHUNK)
        connection.shutdown(socket.SHUT_WR)
        return {"bits_per_second": answer(connection)[0]}


def count(address: str, packets: int, packets_per_second: float, payload_bytes: int) -> dict[str, float]:
    """Count how many evenly paced UDP packets arrive, and the seconds from the first arrival to the last."""
    with ask(address, -1) as connection:
        answer(connection)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as counted:
        counted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        counted.connect((address, COUNT_PORT))
        began = time.monotonic()
        sent = 0
        while sent < packets:
            due = min(packets, int((time.monotonic() - began) * packets_per_second))
            for _ in range(due - sent):
                counted.send(bytes(payload_bytes))
            sent = due
            time.sleep(BURST_SECONDS)
    time.sleep(SILENCE_SECONDS / 2)
    with ask(address, -1) as connection:
        arrived, seconds = answer(connection)
        return {"sent": packets, "arrived": arrived, "seconds": seconds}


def main() -> None:
    """Run the mode that the first argument names."""
    mode, address, *numbers = sys.argv[1:]
    if mode == "serve":
        serve(address)
    elif mode == "ping":
        print(json.dumps(ping(address, int(numbers[0]), float(numbers[1]))))
    elif mode == "stream":
        print(json.dumps(stream(address, float(numbers[0]), float(numbers[1]))))
    else:
        print(json.dumps(count(address, int(numbers[0]), float(numbers[1]), int(numbers[2]))))


if __name__ == "__main__":
    main()
