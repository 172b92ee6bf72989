"""Weir is watched: Prometheus, plainly and over TLS, the dashboards, and the journal."""

import json
import os
import re
import subprocess
import urllib.parse

from coming import node_is_here
from living import web_port
from told import PATIENCE, active, check, containers, get, output, read, run, sh, wait, write

# How curl ends: an answer that is an error (to what speaks plainly), a failed handshake, an empty answer, failed sending, failed receiving.
REFUSED = (22, 35, 52, 55, 56)
DAEMONS = ("weir-agent", "weir-scheduler")
CONFIGURATION = "/etc/prometheus/prometheus.yml"
# As it came, to begin with each time.
SHIPPED = "/etc/prometheus/story-shipped.yml"
RULES = """
rule_files:
  - /etc/prometheus/rules/*.yml
"""
PLAIN = """
  - job_name: weir-agent
    scrape_interval: 2s
    static_configs: [{targets: ["127.0.0.1:9464"]}]
  - job_name: weir-scheduler
    scrape_interval: 2s
    static_configs: [{targets: ["127.0.0.1:9465"]}]
"""
# As the guide for operators has it; the name in the certificate that `weir certs init` made is the node's.
TLS = """
  - job_name: weir-agent
    scrape_interval: 2s
    scheme: https
    tls_config:
      ca_file: /etc/prometheus/weir/ca.pem
      cert_file: /etc/prometheus/weir/scraper-prometheus.pem
      key_file: /etc/prometheus/weir/scraper-prometheus-key.pem
      server_name: node1
    static_configs: [{targets: ["10.0.2.15:9464"]}]
  - job_name: weir-scheduler
    scrape_interval: 2s
    scheme: https
    tls_config:
      ca_file: /etc/prometheus/weir/ca.pem
      cert_file: /etc/prometheus/weir/scraper-prometheus.pem
      key_file: /etc/prometheus/weir/scraper-prometheus-key.pem
    static_configs: [{targets: ["story:9465"]}]
"""


def scrape(jobs):
    """Has Prometheus scrape these jobs, and waits until it does."""
    if not os.path.exists(SHIPPED):
        write(SHIPPED, read(CONFIGURATION))
    shipped = read(SHIPPED)
    check("rule_files:\n" in shipped and "scrape_configs:" in shipped, shipped)
    head, scrapes = shipped.split("scrape_configs:")
    head = "\n".join(line for line in head.splitlines() if not line.startswith("rule_files:"))
    write(CONFIGURATION, f"{head}\nscrape_configs:{scrapes}{jobs}{RULES}")
    run("promtool", "check", "config", CONFIGURATION)
    run("systemctl", "reload", "prometheus")
    wanted = set(re.findall(r'targets: \["(.*?)"\]', jobs))
    wait(f"{', '.join(sorted(wanted))} are scraped", lambda: scraped() == wanted)


def scraped():
    """Returns what of ours is scraped, if all of it is."""
    targets = json.loads(get("http://127.0.0.1:9090/api/v1/targets?state=active"))["data"]["activeTargets"]
    ours = [one for one in targets if one["labels"]["job"] in DAEMONS]
    wrong = [f"{one['scrapeUrl']}: {one['lastError']}" for one in ours if one["health"] != "up"]
    check(not wrong, "; ".join(wrong))
    return {one["labels"]["instance"] for one in ours}


def prometheus_scrapes_both():
    for name in ("agent", "scheduler"):
        rules = read(f"/usr/share/doc/weir-{name}/prometheus/weir-{name}.rules.yml")
        write(f"/etc/prometheus/rules/weir-{name}.rules.yml", rules)
    scrape(PLAIN)
    check(value('weir_scheduler_ledger_agents{presence="connected"}') == 1, "the scheduler's agent is not in Prometheus")
    check(value('weir_agent_containers{state="running"}') == len(containers()), "the containers are not in Prometheus")
    before = value("sum(weir_agent_container_network_receive_bytes_total)")
    get(f"http://127.0.0.1:{web_port()}/")
    wait("traffic of the container is counted", lambda: value("sum(weir_agent_container_network_receive_bytes_total)") > before)
    rules = json.loads(get("http://127.0.0.1:9090/api/v1/rules"))["data"]["groups"]
    check({group["name"] for group in rules} >= {"weir-agent", "weir-scheduler"}, rules)
    broken = [rule for group in rules for rule in group["rules"] if rule["health"] == "err"]
    check(not broken, f"rules that cannot be evaluated: {broken}")
    return f"{sum(len(group['rules']) for group in rules)} alert rules are loaded"


def series(query):
    """Returns what Prometheus answers; an error of its is one."""
    answer = json.loads(get("http://127.0.0.1:9090/api/v1/query?query=" + urllib.parse.quote(query)))
    check(answer["status"] == "success", f"{query}: {answer}")
    return answer["data"]["result"]


def value(query):
    found = series(query)
    return float(found[0]["value"][1]) if found else None


def prometheus_answers_the_dashboards():
    """Every query of the dashboards that the packages bring; and no panel is empty here."""
    # A rate wants two scrapes.
    wait("both are scraped twice", lambda: value('count(count_over_time(up{job=~"weir-.*"}[30s]) >= 2)') == 2)
    count, problems = 0, []
    for name in DAEMONS:
        dashboard = json.loads(read(f"/usr/share/doc/{name}/grafana/{name}.json"))
        panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
        check(len(panels) > 15, f"{name} has {len(panels)} panels")
        for panel in panels:
            found = 0
            for target in panel["targets"]:
                query = target["expr"].replace("$instance", ".*").replace("$container", ".*").replace("$__rate_interval", "30s")
                check("$" not in query, f"a variable is not replaced: {query}")
                found += len(series(query))
                count += 1
            if not found:
                problems.append(f"{name}, {panel['title']}")
    check(not problems, f"empty panels: {'; '.join(problems)}")
    return f"{count} queries"


def scrapes_from_elsewhere_need_a_certificate():
    """Over TLS, as the guide for operators has it; and it stays so to the end of the story."""
    sh(
        "weir certs issue --directory weir-certs scraper prometheus && install -d /etc/prometheus/weir && cd weir-certs"
        " && install -m 644 ca.pem scraper-prometheus.pem /etc/prometheus/weir/"
        " && install -m 640 -g prometheus scraper-prometheus-key.pem /etc/prometheus/weir/"
    )
    for name, port in zip(DAEMONS, (9464, 9465)):
        path = f"/etc/weir/{name.removeprefix('weir-')}.toml"
        configuration = read(path)
        changed = configuration.replace(f'# listen = "127.0.0.1:{port}"', f'listen = "0.0.0.0:{port}"')
        check(changed != configuration, f"{path} has no line `# listen = \"127.0.0.1:{port}\"`")
        write(path, changed)
        run("systemctl", "restart", name)
        active(name)
    wait("the agent is registered", node_is_here)
    scrape(TLS)
    for name, server, port in (("weir_agent", "node1", 9464), ("weir_scheduler", "story", 9465)):
        refused = f"sum({name}_http_refused_total)"
        before = value(refused)
        check(before is not None, f"{refused} is no metric")
        outside(f"http://192.0.2.1:{port}/metrics", wanted=False)
        outside(f"https://{server}:{port}/metrics", "--cacert", "weir-certs/ca.pem", wanted=False)
        agent = ("--cacert", "weir-certs/ca.pem", "--cert", "weir-certs/agent-node1.pem", "--key", "weir-certs/agent-node1-key.pem")
        outside(f"https://{server}:{port}/metrics", *agent, wanted=False)
        scraper = tuple(word.replace("agent-node1", "scraper-prometheus") for word in agent)
        outside(f"https://{server}:{port}/metrics", *scraper, wanted=True)
        wait("the refusals are counted", lambda: value(refused) >= before + 2)
    return "plainly, without one and with an agent's certificate: refused"


def outside(url, *options, wanted):
    """Asks through the wire, and checks whether there is an answer."""
    command = ["ip", "netns", "exec", "outside", "curl", "--silent", "--show-error", "--fail", "--max-time", "30"]
    for host in ("node1:9464", "story:9465"):
        command += ["--resolve", f"{host}:192.0.2.1"]
    command += [*options, url]
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE)
    if wanted:
        check("# TYPE weir_" in ended.stdout, f"`{' '.join(command)}` {ended.stderr.strip()[-500:]}")
    else:
        refused = ended.returncode in REFUSED and not ended.stdout
        check(refused, f"`{' '.join(command)}` ended with {ended.returncode}: {ended.stderr.strip()[-500:]} {ended.stdout[:500]}")


def the_journal_is_found_by_container_and_peer():
    """What the guide for operators says to look for."""
    found = {
        "WEIR_CONTAINER=burner": ("weir-agent", "WEIR_CONTAINER"),
        "WEIR_PEER=spiffe://weir.local/agent/node1": ("weir-scheduler", "WEIR_PEER"),
    }
    counts = []
    for match, (name, field) in found.items():
        lines = output("journalctl", "--boot", "--output=json", match).splitlines()
        check(lines, f"the journal has nothing for {match}")
        entries = [json.loads(line) for line in lines]
        wrong = [one for one in entries if one["_SYSTEMD_UNIT"] != f"{name}.service" or one["_TRANSPORT"] != "journal" or field not in one]
        check(not wrong, wrong)
        counts.append(f"{len(lines)} for {match}")
    return ", ".join(counts)
