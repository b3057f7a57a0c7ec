/** @type {import("../words.js").Words} */
export default {
  title: "Correction d’exposition",
  headline: "Trop sombres, trop claires ?\nRendez leur lumière à vos photos.",
  promise:
    "Cette page corrige les photos surexposées et sous-exposées sur votre propre appareil : rien n’est envoyé, aucune photo ne le quitte.",
  promiseServer:
    "Cette page corrige les photos surexposées et sous-exposées avec le programme qui la fournit ; elles ne sont envoyées nulle part ailleurs.",
  language: "Langue",
  dark: "Couleurs sombres",

  choose: "Choisir des photos",
  orDrop: "ou déposez-les n’importe où sur cette page, ou collez-en une",
  formats: "JPEG, PNG, WebP et AVIF ; HEIC dans Safari",
  dropHere: "Déposez les photos pour les corriger",
  tryOne: "Pas de photo sous la main ? Essayez l’une de celles-ci :",
  exampleDark: "Exemple : une tasse de café, trop sombre",
  exampleBright: "Exemple : un chat, trop clair",
  credit: "Photos : Rachel Michetti (café) et Stefan van der Walt (chat), CC0 ; assombrie et éclaircie à dessein.",
  noFiles: "Il n’y avait pas de photo. Déposez ou collez des fichiers d’image.",
  exampleMissing: "Impossible de charger l’exemple. Vérifiez la connexion, puis réessayez.",

  photos: "Photos",
  add: "Ajouter des photos",
  chosen: "Photo choisie",
  remove: "Retirer {name}",
  retry: "Réessayer",
  retryName: "Réessayer : {name}",
  waiting: "En attente",
  soFar: "Terminé : {done} sur {all}.",
  "stage.download": "Chargement du modèle : {share}",
  "stage.start": "Démarrage",
  "stage.read": "Lecture : {share}",
  "stage.decode": "Ouverture : {share}",
  "stage.correct": "Correction : {share}",
  "stage.save": "Enregistrement : {share}",

  split: "Comparer avant et après",
  splitValue: "{before} avant, {after} après",
  before: "Avant",
  after: "Après",
  afterPicture: "{name}, corrigée",

  tooDark: "Trop sombre de {stops} IL",
  tooBright: "Trop claire de {stops} IL",
  wellExposed: "Bien exposée : presque inchangée",
  corrected: "Corrigée",
  sure: "sûr à {share}",
  size: "{width} × {height} pixels",

  adjust: "Réglages",
  strength: "Intensité",
  limit: "Limite du changement",
  limitOff: "Aucune",
  stops: "{stops} IL",
  keepHighlights: "Préserver les hautes lumières",
  keepHighlightsHelp: "Rien ne devient blanc qui ne l’était pas.",
  reset: "Réinitialiser",
  useForAll: "Appliquer à toutes",
  usedForAll: "Toutes les photos ont maintenant ces réglages.",

  histogram: "Histogramme",
  histogramBefore:
    "Histogramme avant : {dark} sombre, {middle} moyen, {bright} clair ; {black} tout noir, {white} tout blanc.",
  histogramAfter:
    "Histogramme après : {dark} sombre, {middle} moyen, {bright} clair ; {black} tout noir, {white} tout blanc.",

  model: "Modèle",
  modelFast: "Rapide",
  modelFastHelp: "Les mêmes courbes pour toute la photo : le meilleur choix le plus souvent.",
  modelPaper: "De l’article",
  modelPaperHelp: "Le réseau de l’article CVPR 2021 : peut traiter chaque zone à sa façon ; plus lent.",

  format: "Format",
  formatSame: "Celui de la photo",
  download: "Télécharger",
  downloadAll: "Tout télécharger ({count})",
  saved: "Enregistrée sous {name}",
  savedAll: "{count} photos enregistrées",
  notSaved: "{name} n’a pas été enregistrée. {why}",
  notKept: "Bon à savoir",

  "error.unknown": "Cette photo n’a pas pu être corrigée ({code}). Réessayez, ou essayez une autre copie.",
  "error.empty": "Ce fichier est vide. Choisissez-en une autre copie.",
  "error.not_a_photo": "Ce n’est pas une photo, quel que soit son nom. Choisissez un fichier JPEG, PNG, WebP ou AVIF.",
  "error.format_unsupported":
    "Les navigateurs ne savent pas ouvrir les fichiers {format}. Enregistrez d’abord la photo en JPEG ou en PNG.",
  "error.heic_unsupported":
    "Ce navigateur ne sait pas ouvrir les photos HEIC. Enregistrez-la d’abord en JPEG, ou ouvrez cette page dans Safari.",
  "error.raw_unsupported":
    "C’est un fichier RAW d’appareil photo ({format}). Développez-le d’abord en JPEG, ou utilisez le programme expcorr, qui lit les fichiers RAW.",
  "error.hdr_unsupported":
    "C’est une photo HDR, que cette page ne peut pas corriger. Enregistrez-la d’abord en JPEG ordinaire.",
  "error.unreadable": "Ce fichier est endommagé ou incomplet. Essayez une autre copie.",
  "error.file_lost":
    "Ce fichier a été déplacé, modifié ou supprimé depuis que vous l’avez choisi. Choisissez-le de nouveau.",
  "error.too_large":
    "Avec {width} × {height} pixels, cette photo est trop grande pour ce navigateur. Réduisez-la d’abord, ou utilisez le programme expcorr.",
  "error.no_memory":
    "Il n’y a pas assez de mémoire pour cette photo. Retirez-en d’autres de la liste ou fermez d’autres onglets, puis réessayez.",
  "error.offline": "Une partie de cette page n’a pas pu être chargée. Vérifiez la connexion, puis réessayez.",
  "error.engine_failed": "La correction a échoué ({reason}). Réessayez, ou rechargez la page.",
  "error.refused": "Le programme signale : {reason}.",
  "error.program_ended":
    "Le programme qui corrige les photos s’est arrêté. Relancez-le avec : expcorr app.",

  "note.left_out": "Non conservé : {what}.",
  "note.unknown": "Un élément du fichier n’est pas conservé ({code}).",
  "note.gain_map": "La carte de gain pour écrans HDR n’est pas conservée : le résultat est une photo ordinaire.",
  "note.further_pictures": "Des images du fichier, seule la principale est conservée.",
  "note.video": "La vidéo de la photo animée n’est pas conservée.",
  "note.content_credentials":
    "Les Content Credentials ne sont pas conservés : ils ne valent que pour la photo inchangée.",
  "note.exif_damaged": "Les données EXIF du fichier sont endommagées et ne sont pas conservées.",
  "note.xmp_parts": "Une partie des données XMP n’est pas conservée.",
  "note.animation": "De l’animation, seule la première image est conservée.",
  "note.sixteen_bits": "Le résultat a 8 bits par canal ; la photo en a 16.",
  "note.alpha": "La transparence n’est pas conservée dans un fichier JPEG ; elle l’est en PNG.",
  "note.metadata": "Les données EXIF et autres métadonnées ne sont pas conservées dans ce format.",
  "note.profile_to_p3": "Le profil de couleur du résultat est Display P3, au lieu de celui de la photo.",
  "note.profile_to_srgb": "Le profil de couleur du résultat est sRGB, au lieu de celui de la photo.",
  "note.profile_damaged": "Le profil de couleur de la photo est endommagé ; ses couleurs sont lues comme sRGB.",
  "note.pixels_disturbed":
    "Pour protéger du pistage, ce navigateur ajoute du bruit aux images que lisent les pages ; il se retrouve dans le résultat. Autorisez cette page à lire les images canvas, ou utilisez un autre navigateur.",
};
