"""The page of `voxpop report`, from outside: what it says, that ids stay data, and that it works in a real browser.

Usage: python report_test.py PATH_TO_VOXPOP [unittest arguments]
The browser's tests skip visibly without Chromium, its driver and selenium.
"""

import json
import os
import re
import shutil
import unittest

from program import main, path, voxpop  # first: it skips where what follows is missing

import h5py
import numpy as np

EVIL = ['<script>window.hacked = 1</script>', '"><img src=x onerror="window.hacked=1">', "</script><script>window.hacked=1//",
        "<!--<script>", "&lt;b&gt;", "a\u2028b \u65e5\u672c", "{\"summary\": null}", "/* page.js */"]


def replace(file, name, values):
    del file[name]
    file[name] = np.array(values, dtype=h5py.string_dtype())


def setUpModule():

    voxpop("simulate", path("votes.h5"), "--prompts", 3000, "--annotators", 60, "--days", 200, "--drift", 0.2, "--seed", 3)
    with h5py.File(path("votes.h5"), "r+") as file:
        for table in "annotators/id", "items/id", "prompts/id":
            ids = list(file[table].asstr()[:])
            ids[:len(EVIL)] = EVIL
            replace(file, table, ids)
    voxpop("fit", path("votes.h5"), "-o", path("fit.h5"))
    voxpop("report", path("fit.h5"), "-o", path("report.html"))


class Page(unittest.TestCase):
    def test_summary_agrees_with_the_fit(self):
        summary = json.loads(voxpop("report", path("fit.h5"), "-o", path("again.html"), "--json").stdout)
        with h5py.File(path("fit.h5")) as file:
            annotators = {name: data[:] for name, data in file["annotators"].items() if isinstance(data, h5py.Dataset)}
            pairs = {name: data[:] for name, data in file["pairs"].items()}
            provenance = json.loads(file.attrs["provenance"])
            ids = file["annotators/id"].asstr()[:]
            reliability = {name: data[:] for name, data in file["reliability"].items()}
            correct = file["votes/probability_correct"][:]
        self.assertEqual(summary["votes"], annotators["votes"].sum())
        known = ((pairs["probability_better"] > 0.95) | (pairs["probability_better"] < 0.05)).mean()
        self.assertAlmostEqual(summary["known_pairs"], known, delta=1e-4)
        self.assertAlmostEqual(summary["accuracy"], np.nanmean(correct), delta=1e-4)
        off = np.abs(reliability["predicted"] - reliability["observed"])
        ece = np.nansum(off * reliability["votes"]) / reliability["votes"].sum()
        self.assertAlmostEqual(summary["reliability"]["ece"], ece, delta=1e-4)
        self.assertAlmostEqual(provenance["reliability"]["ece"], ece, delta=1e-4)
        self.assertEqual({row[0] for row in summary["annotators"]["rows"]}, set(ids))
        self.assertEqual(summary["annotators"]["flags"]["ok"], (annotators["flag"] == 0).sum())
        gain = np.sort(pairs["information_gain"])[::-1]
        self.assertAlmostEqual(summary["budget"]["best_tenth"], gain[:len(gain) // 10].sum() / gain.sum(), delta=1e-3)
        self.assertEqual(summary["drift"]["changed"], (annotators["change_p_value_corrected"] < 0.01).sum())
        against = np.where(pairs["probability_better"] >= 0.5, pairs["votes"] - pairs["wins_left"], pairs["wins_left"])
        worst = max(against / pairs["votes"])
        self.assertAlmostEqual(summary["pairs"][0][3] / summary["pairs"][0][2], worst, delta=0.5)

    def test_needs_nothing_else_and_keeps_ids_data(self):
        with open(path("report.html"), encoding="utf-8") as file:
            page = file.read()
        self.assertLess(len(page), 600_000)
        self.assertFalse(re.findall(r"""<(?:link|img|iframe|object|script)[^>]*(?:src|href)=""", page))
        self.assertIn("default-src 'none'", page)
        for evil in EVIL[:3]:
            self.assertNotIn(evil, page)
        data = re.search(r'<script id="summary" type="application/json">(.*?)</script>', page, re.S).group(1)
        self.assertIn(EVIL[0], {row[0] for row in json.loads(data)["annotators"]["rows"]})

    def test_verdicts(self):
        def verdict(**changes):
            shutil.copy(path("fit.h5"), path("changed.h5"))
            with h5py.File(path("changed.h5"), "r+") as file:
                provenance = json.loads(file.attrs["provenance"])
                for name, value in changes.items():
                    if name == "observed":
                        file["reliability/observed"][:] = value
                    else:
                        provenance[name] = value
                file.attrs["provenance"] = json.dumps(provenance)
                flags = file["annotators/flag"]
                flags[:] = np.zeros(len(flags), "i1")
            return json.loads(voxpop("report", path("changed.h5"), "-o", path("changed.html"), "--json").stdout)["verdict"]

        self.assertEqual(verdict(warnings=[])["level"], "good")
        self.assertEqual(verdict(warnings=["Every pair was shown one way round."])["level"], "care")
        self.assertEqual(verdict(converged=False)["level"], "bad")
        self.assertEqual(verdict(observed=0.5)["level"], "bad")

        # Never better than the worst finding, which comes first and says what mends it.
        sides = {"kind": "one_sided", "level": "do_not_train", "text": "All go left.", "remedy": "voxpop import --winner W"}
        times = {"kind": "times_in_future", "level": "care", "text": "Times to come.", "remedy": "Set the clock"}
        same = {"kind": "times_all_same", "level": "note", "text": "One time.", "remedy": ""}
        self.assertEqual(verdict(findings=[same], warnings=[])["level"], "good")
        self.assertEqual(verdict(findings=[same, times], warnings=["Times to come."])["level"], "care")
        told = verdict(findings=[same, times, sides], warnings=["All go left.", "Times to come.", "More."])
        self.assertEqual((told["level"], told["text"]), ("bad", "Do not train on these labels yet."))
        self.assertEqual(told["findings"][0], sides)
        self.assertEqual(told["findings"][1], times)
        self.assertEqual(told["points"][:3], ["All go left.", "Times to come.", "More."])
        self.assertEqual([point for point in told["points"] if point in ("All go left.", "One time.")],
                         ["All go left.", "One time."])
        printed = voxpop("report", path("changed.h5"), "-o", path("changed.html")).stdout
        self.assertIn("yet.\n- Do not train: All go left.\n  voxpop import --winner W\n- Care: Times to come.", printed)

        # A fit that anybody may have written.
        self.assertEqual(verdict(findings=[3, {"text": 4}, {"text": "Odd.", "level": 7}], warnings=[])["level"], "care")
        with self.assertRaisesRegex(AssertionError, r"exit 3[\s\S]*has a /findings of the wrong type"):
            verdict(findings="none")

    def test_texts_of_a_strangers_fit_stay_on_their_line(self):
        evil = "\x1b]0;title\x07\x1b[2J\nwrote report.html\n\x00 " + "w" * 100000
        shutil.copy(path("fit.h5"), path("evil.h5"))
        with h5py.File(path("evil.h5"), "r+") as file:
            provenance = json.loads(file.attrs["provenance"])
            provenance["warnings"] = [evil]
            provenance["findings"] = [{"kind": evil, "level": evil, "text": evil, "remedy": evil}]
            del file.attrs["provenance"]
            file.attrs.create("provenance", json.dumps(provenance), dtype=h5py.string_dtype())
        printed = voxpop("report", path("evil.h5"), "-o", path("evil.html")).stdout
        self.assertFalse(set(printed) & set("\x1b\x07\x00"))
        self.assertNotIn("\nwrote report.html", printed)
        self.assertLess(len(printed), 10_000)

    def test_coin_flips_are_not_fit_for_training(self):
        random = np.random.default_rng(1)
        with open(path("coins.csv"), "w") as file:
            file.write("left,right,annotator,preference\n")
            for pair in range(3000):
                for vote in range(4):
                    sides = random.permutation([f"{pair}a", f"{pair}b"])
                    file.write(f"{sides[0]},{sides[1]},{random.integers(20)},{random.choice(['left', 'right'])}\n")
        voxpop("import", path("coins.csv"), "-o", path("coins.h5"))
        for model in "rater", "bt":
            voxpop("fit", path("coins.h5"), "-o", path("coins.fit.h5"), "--model", model)
            done = voxpop("report", path("coins.fit.h5"), "-o", path("coins.html"))
            self.assertIn("Do not train on these labels yet", done.stdout, model)

    def test_few_votes_are_not_blamed_for_chance(self):
        for seed in 1, 2, 3:
            voxpop("simulate", path("few.h5"), "--prompts", 10, "--mix", "good=1", "--annotators", 5, "--seed", seed)
            voxpop("fit", path("few.h5"), "-o", path("few.fit.h5"))
            done = voxpop("report", path("few.fit.h5"), "-o", path("few.html"))
            self.assertNotIn("Do not train", done.stdout)

    def test_only_ties(self):
        with open(path("ties.csv"), "w") as file:
            file.write("left,right,annotator,preference\na,b,x,tie\na,b,y,tie\nb,c,x,tie\n")
        voxpop("import", path("ties.csv"), "-o", path("ties.h5"))
        voxpop("fit", path("ties.h5"), "-o", path("ties.fit.h5"))
        summary = json.loads(voxpop("report", path("ties.fit.h5"), "-o", path("ties.html"), "--json").stdout)
        self.assertIsNone(summary["reliability"]["ece"])
        self.assertIsNone(summary["accuracy"])
        told = voxpop("report", path("ties.fit.h5"), "-o", path("ties.html")).stdout
        self.assertIn("Do not train", told)
        self.assertIn("Every vote is a tie", told)
        self.assertNotIn("nan", told)

    def test_models_without_side_bias_or_times(self):
        voxpop("simulate", path("plain.h5"), "--prompts", 200, "--annotators", 10, "--shape", "arena")
        for model in "bt", "crowd-bt":
            voxpop("fit", path("plain.h5"), "-o", path("plain.fit.h5"), "--model", model)
            summary = json.loads(voxpop("report", path("plain.fit.h5"), "-o", path(model + ".html"), "--json").stdout)
            self.assertIsNone(summary["drift"])
            self.assertEqual(summary["annotators"]["rated"], model != "bt")

    def test_bad_input(self):
        self.assertRegex(voxpop("report", path("votes.h5"), "-o", path("no.html"), status=3).stderr, "it must be a fit")
        self.assertRegex(voxpop("report", path("none.h5"), "-o", path("no.html"), status=4).stderr, "none.h5: cannot open")
        self.assertRegex(voxpop("report", path("fit.h5"), "-o", path("no/no.html"), status=4).stderr, "cannot write here")
        self.assertRegex(voxpop("report", path("fit.h5"), "-o", path("fit.h5"), status=2).stderr, "an input and the output")
        shutil.copy(path("fit.h5"), path("odd.h5"))
        with h5py.File(path("odd.h5"), "r+") as file:
            file.attrs["provenance"] = "not JSON"
        self.assertRegex(voxpop("report", path("odd.h5"), "-o", path("no.html"), status=3).stderr, "'provenance' is not a JSON")
        self.assertFalse(os.path.exists(path("no.html")))

    def test_many_annotators_become_aggregates(self):
        voxpop("simulate", path("many.h5"), "--prompts", 20000, "--annotators", 20000, "--quiet")
        voxpop("fit", path("many.h5"), "-o", path("many.fit.h5"), "--quiet")
        summary = json.loads(voxpop("report", path("many.fit.h5"), "-o", path("many.html"), "--json").stdout)
        self.assertEqual(len(summary["annotators"]["rows"]), 2000)
        with h5py.File(path("many.fit.h5")) as file:
            voted = file["annotators/votes"][:] > 0
            flags = file["annotators/flag"][:][voted]
        self.assertEqual(sum(cell[2] for cell in summary["annotators"]["cells"]), np.isin(flags, [0, 5]).sum())
        self.assertLess(os.path.getsize(path("many.html")), 1_000_000)


class Browser(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        try:
            from selenium import webdriver
            from selenium.webdriver.chrome.service import Service
        except ImportError:
            raise unittest.SkipTest("selenium is not installed") from None
        browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
        if not browser or not driver:
            raise unittest.SkipTest("no chromium or no chromedriver here")
        options = webdriver.ChromeOptions()
        options.binary_location = browser
        for argument in "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage":
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        cls.browser = webdriver.Chrome(options=options, service=Service(driver))

    @classmethod
    def tearDownClass(cls):
        if hasattr(cls, "browser"):
            cls.browser.quit()

    def open(self, name, width=1280, scheme="light"):
        command = self.browser.execute_cdp_cmd
        command("Emulation.setDeviceMetricsOverride", {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600})
        command("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
        self.browser.get("file://" + path(name))

    def script(self, text):
        return self.browser.execute_script("return " + text)

    def column(self, number):
        return self.script(f"[...document.querySelectorAll('#annotator-table tbody tr')].map(r => r.cells[{number}].textContent)")

    def drawn(self, canvas):
        """Share of a canvas's pixels that are drawn on."""
        return self.script(f"""(() => {{ const c = document.getElementById('{canvas}');
            const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
            let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 0; return n / (d.length / 4); }})()""")

    def test_everything_is_drawn_at_any_width_and_scheme(self):
        backgrounds = set()
        for width in 1280, 390:
            for scheme in "light", "dark":
                self.open("report.html", width, scheme)
                for canvas in "reliability", "scatter", "accuracy", "change", "gain":
                    self.assertGreater(self.drawn(canvas), 0.005, canvas)
                self.assertLessEqual(self.script("document.documentElement.scrollWidth"), width)
                backgrounds.add(self.script("getComputedStyle(document.body).backgroundColor"))
                self.assertIsNone(self.script("window.hacked"))
                self.assertEqual([entry for entry in self.browser.get_log("browser") if entry["level"] == "SEVERE"], [])
        self.assertEqual(len(backgrounds), 2)

    def test_ids_are_text(self):
        self.open("report.html")
        self.assertLessEqual(set(EVIL), set(self.column(0)))
        self.assertEqual(self.script("document.images.length"), 0)

    def test_click_sorts_and_search_filters(self):
        from selenium.webdriver.common.by import By
        self.open("report.html")
        def press():
            self.browser.find_element(By.XPATH, "//table[@id='annotator-table']//button[text()='discrimination']").click()
            return [float(text.split()[0]) for text in self.column(2)]
        down = press()
        self.assertEqual(down, sorted(down, reverse=True))
        up = press()
        self.assertEqual(up, sorted(up))
        self.assertNotEqual(up, down)
        self.assertEqual(self.script("document.querySelectorAll('#annotator-table th[aria-sort]').length"), 1)
        box = self.browser.find_element(By.ID, "filter")
        box.send_keys("noisy")
        self.assertEqual(set(self.column(6)), {"noisy"})
        self.assertIn("shown of 60", self.script("document.getElementById('annotator-rest').textContent"))
        box.clear()
        box.send_keys("<script>")
        self.assertEqual(set(self.column(0)), {EVIL[0], EVIL[2], EVIL[3]})
        details = self.browser.find_element(By.CSS_SELECTOR, "details summary")
        details.click()
        self.assertIn("not a verdict on a person", self.browser.find_element(By.TAG_NAME, "details").text)

    def test_hovering_names_an_annotator(self):
        from selenium.webdriver.common.action_chains import ActionChains
        from selenium.webdriver.common.by import By
        self.open("report.html")
        canvas = self.browser.find_element(By.ID, "scatter")
        self.script("document.getElementById('scatter').scrollIntoView({block: 'center'})")
        # The annotator that is furthest to the left stands alone.
        name, x, y = self.script("""(() => { const chart = Chart.getChart('scatter');
            const all = chart.data.datasets.flatMap((set, s) => set.data.map((p, i) => [p, chart.getDatasetMeta(s).data[i]]));
            const [p, at] = all.reduce((a, b) => (a[0].x < b[0].x ? a : b));
            return [p.row[0], at.x - chart.width / 2, at.y - chart.height / 2]; })()""")
        ActionChains(self.browser).move_to_element_with_offset(canvas, round(x), round(y)).perform()
        lines = self.script("Chart.getChart('scatter').tooltip.body[0].lines")
        self.assertEqual(lines[0], name)
        self.assertRegex(lines[1], r"probability \d+ %\), [\d,]+ votes")

    def test_models_that_say_less(self):
        for model in "bt", "crowd-bt":
            self.open(model + ".html")
            self.assertEqual([entry for entry in self.browser.get_log("browser") if entry["level"] == "SEVERE"], [])
            self.assertEqual(self.script("document.getElementById('scatter').parentElement.hidden"), model == "bt")
            self.assertIn("no times", self.script("document.getElementById('drift-text').textContent"))

    def test_many_annotators(self):
        self.open("many.html")
        self.assertGreater(self.drawn("scatter"), 0.005)
        self.assertEqual(len(self.column(0)), 2000)
        self.assertIn("this page has 2,000", self.script("document.getElementById('annotator-rest').textContent"))


def load_tests(loader, tests, pattern):
    """Page first: it makes the pages that Browser looks at."""
    return unittest.TestSuite(loader.loadTestsFromTestCase(case) for case in (Page, Browser))


if __name__ == "__main__":
    main()
