/** @type {import("../words.js").Words} */
export default {
  title: "Belichtungskorrektur",
  headline: "Zu dunkel, zu hell?\nHolen Sie das Licht zurück.",
  promise:
    "Diese Seite korrigiert über- und unterbelichtete Fotos auf Ihrem eigenen Gerät: Nichts wird hochgeladen, kein Foto verlässt es.",
  promiseServer:
    "Diese Seite korrigiert über- und unterbelichtete Fotos mit dem Programm, das sie bereitstellt; sonst gehen die Fotos nirgendwohin.",
  language: "Sprache",
  dark: "Dunkle Farben",

  choose: "Fotos auswählen",
  orDrop: "oder irgendwo auf dieser Seite ablegen oder einfügen",
  formats: "JPEG, PNG, WebP und AVIF; in Safari auch HEIC",
  dropHere: "Fotos hier ablegen",
  tryOne: "Kein Foto zur Hand? Probieren Sie eines von diesen:",
  exampleDark: "Beispiel: eine Kaffeetasse, zu dunkel",
  exampleBright: "Beispiel: eine Katze, zu hell",
  credit: "Fotos: Rachel Michetti (Kaffee) und Stefan van der Walt (Katze), CC0; absichtlich zu dunkel und zu hell gemacht.",
  noFiles: "Darin war kein Foto. Legen Sie Bilddateien ab, oder fügen Sie welche ein.",
  exampleMissing: "Das Beispiel lässt sich nicht laden. Prüfen Sie die Verbindung, und versuchen Sie es noch einmal.",

  photos: "Fotos",
  add: "Fotos hinzufügen",
  chosen: "Ausgewähltes Foto",
  remove: "{name} entfernen",
  retry: "Noch einmal versuchen",
  retryName: "Noch einmal versuchen: {name}",
  waiting: "Wartet",
  soFar: "Fertig: {done} von {all}.",
  "stage.download": "Modell wird geladen: {share}",
  "stage.start": "Startet",
  "stage.read": "Wird gelesen: {share}",
  "stage.decode": "Wird geöffnet: {share}",
  "stage.correct": "Wird korrigiert: {share}",
  "stage.save": "Wird gespeichert: {share}",

  split: "Vorher und nachher vergleichen",
  splitValue: "{before} vorher, {after} nachher",
  before: "Vorher",
  after: "Nachher",
  afterPicture: "{name}, korrigiert",

  tooDark: "{stops} Blenden zu dunkel",
  tooBright: "{stops} Blenden zu hell",
  wellExposed: "Gut belichtet: fast unverändert",
  corrected: "Korrigiert",
  sure: "zu {share} sicher",
  size: "{width} × {height} Pixel",

  adjust: "Anpassen",
  strength: "Stärke",
  limit: "Grenze der Änderung",
  limitOff: "Keine",
  stops: "{stops} Blenden",
  keepHighlights: "Lichter erhalten",
  keepHighlightsHelp: "Was nicht weiß war, wird nicht weiß.",
  reset: "Zurücksetzen",
  useForAll: "Auf alle anwenden",
  usedForAll: "Alle Fotos haben jetzt diese Einstellungen.",

  histogram: "Histogramm",
  histogramBefore:
    "Histogramm vorher: {dark} dunkel, {middle} mittel, {bright} hell; {black} ganz schwarz, {white} ganz weiß.",
  histogramAfter:
    "Histogramm nachher: {dark} dunkel, {middle} mittel, {bright} hell; {black} ganz schwarz, {white} ganz weiß.",

  model: "Modell",
  modelFast: "Schnell",
  modelFastHelp: "Dieselben Kurven für das ganze Foto: für die meisten am besten.",
  modelPaper: "Aus dem Paper",
  modelPaperHelp: "Das Netz aus dem CVPR-2021-Paper: kann jeden Bereich anders behandeln; langsamer.",

  format: "Dateiformat",
  formatSame: "Wie das Foto",
  download: "Herunterladen",
  downloadAll: "Alle herunterladen ({count})",
  saved: "Gespeichert als {name}",
  savedAll: "{count} Fotos gespeichert",
  notSaved: "{name} wurde nicht gespeichert. {why}",
  notKept: "Gut zu wissen",

  "error.unknown":
    "Dieses Foto ließ sich nicht korrigieren ({code}). Versuchen Sie es noch einmal oder mit einer anderen Kopie.",
  "error.empty": "Diese Datei ist leer. Wählen Sie eine andere Kopie davon.",
  "error.not_a_photo": "Das ist kein Foto, wie auch immer die Datei heißt. Wählen Sie eine JPEG-, PNG-, WebP- oder AVIF-Datei.",
  "error.format_unsupported": "Browser können {format}-Dateien nicht öffnen. Speichern Sie das Foto zuerst als JPEG oder PNG.",
  "error.heic_unsupported":
    "Dieser Browser kann keine HEIC-Fotos öffnen. Speichern Sie es zuerst als JPEG, oder öffnen Sie diese Seite in Safari.",
  "error.raw_unsupported":
    "Das ist die Raw-Datei einer Kamera ({format}). Entwickeln Sie sie zuerst zu JPEG, oder nehmen Sie das Programm expcorr, das Raw-Dateien liest.",
  "error.hdr_unsupported":
    "Das ist ein HDR-Foto, das diese Seite nicht korrigieren kann. Speichern Sie es zuerst als gewöhnliches JPEG.",
  "error.unreadable": "Diese Datei ist beschädigt oder unvollständig. Versuchen Sie es mit einer anderen Kopie.",
  "error.file_lost":
    "Diese Datei wurde nach der Auswahl verschoben, geändert oder gelöscht. Wählen Sie sie noch einmal aus.",
  "error.too_large":
    "Mit {width} × {height} Pixeln ist dieses Foto zu groß für diesen Browser. Verkleinern Sie es zuerst, oder nehmen Sie das Programm expcorr.",
  "error.no_memory":
    "Der Speicher reicht für dieses Foto nicht. Entfernen Sie andere aus der Liste oder schließen Sie andere Tabs, und versuchen Sie es dann noch einmal.",
  "error.offline":
    "Ein Teil dieser Seite ließ sich nicht laden. Prüfen Sie die Verbindung, und versuchen Sie es dann noch einmal.",
  "error.engine_failed": "Die Korrektur ist fehlgeschlagen ({reason}). Versuchen Sie es noch einmal, oder laden Sie die Seite neu.",
  "error.refused": "Das Programm meldet: {reason}.",
  "error.program_ended":
    "Das Programm, das die Fotos korrigiert, läuft nicht mehr. Starten Sie es neu: expcorr app.",

  "note.left_out": "Nicht erhalten: {what}.",
  "note.unknown": "Etwas aus der Datei bleibt nicht erhalten ({code}).",
  "note.gain_map": "Die Gain-Map für HDR-Bildschirme bleibt nicht erhalten: Das Ergebnis ist ein gewöhnliches Foto.",
  "note.further_pictures": "Von den Bildern in der Datei bleibt nur das Hauptbild erhalten.",
  "note.video": "Das Video des Bewegtfotos bleibt nicht erhalten.",
  "note.content_credentials": "Content Credentials bleiben nicht erhalten: Sie gelten nur für das unveränderte Foto.",
  "note.exif_damaged": "Die EXIF-Daten der Datei sind beschädigt und bleiben nicht erhalten.",
  "note.xmp_parts": "Ein Teil der XMP-Daten bleibt nicht erhalten.",
  "note.animation": "Von der Animation bleibt nur das erste Bild erhalten.",
  "note.sixteen_bits": "Das Ergebnis hat 8 Bit pro Kanal; das Foto hat 16.",
  "note.alpha": "Transparenz bleibt in einer JPEG-Datei nicht erhalten, in PNG schon.",
  "note.metadata": "EXIF und andere Metadaten bleiben in diesem Format nicht erhalten.",
  "note.profile_to_p3": "Das Farbprofil des Ergebnisses ist Display P3 statt des eigenen Profils des Fotos.",
  "note.profile_to_srgb": "Das Farbprofil des Ergebnisses ist sRGB statt des eigenen Profils des Fotos.",
  "note.profile_damaged": "Das Farbprofil des Fotos ist beschädigt; seine Farben werden als sRGB gelesen.",
  "note.pixels_disturbed":
    "Zum Schutz vor Tracking mischt dieser Browser Rauschen in Bilder, die Seiten auslesen; es ist auch im Ergebnis. Erlauben Sie dieser Seite, Canvas-Bilder auszulesen, oder nehmen Sie einen anderen Browser.",
};
