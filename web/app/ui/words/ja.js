/** @type {import("../words.js").Words} */
export default {
  title: "露出補正",
  headline: "暗すぎる写真、明るすぎる写真に、\n本来の光を。",
  promise:
    "このページは、露出オーバーや露出アンダーの写真をお使いの端末の中だけで補正します。アップロードは一切なく、写真が端末の外に出ることはありません。",
  promiseServer:
    "このページは、ページを提供しているプログラムで露出オーバーや露出アンダーの写真を補正します。写真がほかへ送られることはありません。",
  language: "言語",
  dark: "ダークモード",

  choose: "写真を選ぶ",
  orDrop: "または、このページにドロップするか、貼り付けてください",
  formats: "JPEG、PNG、WebP、AVIF（Safari では HEIC も）",
  dropHere: "ここに写真をドロップ",
  tryOne: "手元に写真がないときは、こちらでお試しください：",
  exampleDark: "例：暗すぎるコーヒーカップの写真",
  exampleBright: "例：明るすぎる猫の写真",
  credit: "写真：Rachel Michetti（コーヒー）、Stefan van der Walt（猫）、CC0。わざと暗く、または明るくしてあります。",
  noFiles: "写真が見つかりませんでした。画像ファイルをドロップするか、貼り付けてください。",
  exampleMissing: "例の写真を読み込めません。接続を確認して、もう一度お試しください。",

  photos: "写真",
  add: "写真を追加",
  chosen: "選択中の写真",
  remove: "{name} を取り除く",
  retry: "再試行",
  retryName: "再試行：{name}",
  waiting: "待機中",
  soFar: "{all} 枚中 {done} 枚が完了。",
  "stage.download": "モデルを読み込み中：{share}",
  "stage.start": "準備中",
  "stage.read": "読み込み中：{share}",
  "stage.decode": "展開中：{share}",
  "stage.correct": "補正中：{share}",
  "stage.save": "保存中：{share}",

  split: "補正前と補正後を比べる",
  splitValue: "補正前 {before}、補正後 {after}",
  before: "補正前",
  after: "補正後",
  afterPicture: "{name}（補正後）",

  tooDark: "{stops} 段アンダー",
  tooBright: "{stops} 段オーバー",
  wellExposed: "適正露出：ほぼそのまま",
  corrected: "補正済み",
  sure: "確信度 {share}",
  size: "{width} × {height} ピクセル",

  adjust: "調整",
  strength: "強度",
  limit: "明るさの変化の上限",
  limitOff: "なし",
  stops: "{stops} 段",
  keepHighlights: "ハイライトを保護",
  keepHighlightsHelp: "白くなかった部分は白飛びさせません。",
  reset: "リセット",
  useForAll: "すべてに適用",
  usedForAll: "すべての写真をこの設定にしました。",

  histogram: "ヒストグラム",
  histogramBefore:
    "補正前のヒストグラム：暗部 {dark}、中間部 {middle}、明部 {bright}、黒つぶれ {black}、白飛び {white}。",
  histogramAfter:
    "補正後のヒストグラム：暗部 {dark}、中間部 {middle}、明部 {bright}、黒つぶれ {black}、白飛び {white}。",

  model: "モデル",
  modelFast: "高速",
  modelFastHelp: "写真全体を同じカーブで補正します。ほとんどの写真に最適です。",
  modelPaper: "論文のモデル",
  modelPaperHelp: "CVPR 2021 論文のネットワークです。領域ごとに異なる補正ができますが、時間がかかります。",

  format: "ファイル形式",
  formatSame: "元と同じ",
  download: "ダウンロード",
  downloadAll: "すべてダウンロード（{count}）",
  saved: "{name} として保存しました",
  savedAll: "{count} 枚の写真を保存しました",
  notSaved: "{name} を保存できませんでした。{why}",
  notKept: "ご注意",

  "error.unknown": "この写真を補正できませんでした（{code}）。もう一度試すか、別のコピーをお試しください。",
  "error.empty": "このファイルは空です。別のコピーを選んでください。",
  "error.not_a_photo":
    "ファイル名にかかわらず、これは写真ではありません。JPEG、PNG、WebP、AVIF のファイルを選んでください。",
  "error.format_unsupported": "ブラウザーでは {format} ファイルを開けません。先に JPEG か PNG で保存してください。",
  "error.heic_unsupported":
    "このブラウザーでは HEIC 写真を開けません。先に JPEG で保存するか、このページを Safari で開いてください。",
  "error.raw_unsupported":
    "これはカメラの RAW ファイル（{format}）です。先に JPEG に現像するか、RAW を読めるプログラム expcorr をお使いください。",
  "error.hdr_unsupported": "これは HDR 写真のため、このページでは補正できません。先に通常の JPEG で保存してください。",
  "error.unreadable": "このファイルは壊れているか、途中で切れています。別のコピーをお試しください。",
  "error.file_lost": "選択した後に、このファイルが移動、変更、または削除されました。もう一度選んでください。",
  "error.too_large":
    "{width} × {height} ピクセルの写真は、このブラウザーには大きすぎます。先に縮小するか、プログラム expcorr をお使いください。",
  "error.no_memory":
    "この写真を開くにはメモリが足りません。リストからほかの写真を取り除くか、ほかのタブを閉じてから、もう一度お試しください。",
  "error.offline": "このページの一部を読み込めませんでした。接続を確認して、もう一度お試しください。",
  "error.engine_failed": "補正に失敗しました（{reason}）。もう一度試すか、ページを再読み込みしてください。",
  "error.refused": "プログラムからのメッセージ：{reason}。",
  "error.program_ended":
    "写真を補正するプログラムが終了しています。expcorr app で起動し直してください。",

  "note.left_out": "引き継がれないもの：{what}。",
  "note.unknown": "ファイルの一部は引き継がれません（{code}）。",
  "note.gain_map": "HDR ディスプレイ用のゲインマップは引き継がれず、結果は通常の写真になります。",
  "note.further_pictures": "ファイル内の複数の画像のうち、メインの画像だけが保存されます。",
  "note.video": "モーションフォトの動画は引き継がれません。",
  "note.content_credentials": "コンテンツクレデンシャルは引き継がれません。変更前の写真に対してのみ有効なためです。",
  "note.exif_damaged": "ファイルの EXIF データは壊れているため、引き継がれません。",
  "note.xmp_parts": "XMP データの一部は引き継がれません。",
  "note.animation": "アニメーションの最初の画像だけが保存されます。",
  "note.sixteen_bits": "元の写真は 16 ビット、結果は 8 ビット（チャンネルあたり）です。",
  "note.alpha": "JPEG では透明部分が失われます。PNG なら保たれます。",
  "note.metadata": "この形式では EXIF などのメタデータは引き継がれません。",
  "note.profile_to_p3": "結果のカラープロファイルは、元のものではなく Display P3 になります。",
  "note.profile_to_srgb": "結果のカラープロファイルは、元のものではなく sRGB になります。",
  "note.profile_damaged": "写真のカラープロファイルが壊れているため、色は sRGB として扱われます。",
  "note.pixels_disturbed":
    "このブラウザーは追跡防止のため、ページが読み取る画像にノイズを加えます。結果にもこのノイズが含まれます。このページに canvas の読み取りを許可するか、別のブラウザーをお使いください。",
};
