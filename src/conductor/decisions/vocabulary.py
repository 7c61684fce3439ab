"""The words by which media, operations and countable things are recognised, in ten languages.

Tables only; `features` reads texts with them. They feed estimates and reasoning, never the choice of device: that is
the encoder's, because surface words mislead in a third of all descriptions.
"""

from types import MappingProxyType
from typing import Final

MEDIA_WORDS: Final = MappingProxyType(
    {
        word: medium
        for medium, words in {
            "video": "video videos vidéo vidéos vídeo vídeos videoclip clip clips film films movie movies filme filmes "
            "footage wideo filmy видео ролик ролики filmato filmati klip filmpje filmpjes episode "
            "episodes stream livestream timelapse",
            "image": "image images photo photos picture pictures bild bilder foto fotos imagen imágenes imagem imagens "
            "immagine immagini afbeelding afbeeldingen zdjęcie zdjęcia zdjęć obraz obrazy obrazów resim resimler "
            "fotoğraf fotoğraflar изображение изображения изображений фото фотографии фотографий thumbnail thumbnails "
            "scan scans screenshot screenshots icon icons frame frames jpegs pngs",
            "audio": "recording recordings "
            "audio audios sound music song songs podcast podcasts speech voice ton tonspur musik lied lieder "
            "chanson chansons música canciones canción músicas musica canzoni muziek geluid dźwięk muzyka ses müzik "
            "звук аудио музыка песни track tracks wavs mp3s call calls",
            "signal": "signal signals eeg ecg ekg ppg imu accelerometer sensor sdr iq vibration seismic radar señal "
            "señales sinal sinais segnale segnali signaal sygnał sinyal сигнал сигналы",
            "table": "csv table tables row rows column columns sql database dataset datasets spreadsheet tabelle "
            "tabellen zeilen tableau lignes tabla tablas filas tabela tabelas linhas tabella tabelle righe tabel rijen "
            "wiersze tablo satır таблица таблицы строк records record entries",
            "text": "text texts document documents review reviews article articles email emails pdf pdfs page pages "
            "sentence sentences word words texte textes dokument dokumente texto textos documento documentos testo "
            "testi recensioni reseñas avaliações bewertungen tekst teksty recenzje metin yorum текст тексты отзывы "
            "отзывов comments comment tweets tweet tickets messages prompt prompts book books transcript transcripts",
            "model": "model models modell modelle modèle modèles modelo modelos modello modelli modeli модель модели "
            "network networks netz netzwerk réseau checkpoint llm transformer cnn gan unet",
            "archive": "archive archives zip backup backups tarball archiv archivio archivo archiwum arşiv архив",
            "code": "code repository repo package packages binary kernel container docker image_build makefile wheel",
        }.items()
        for word in words.split()
    }
)

MEDIA_EXTENSIONS: Final = MappingProxyType(
    {
        extension: medium
        for medium, extensions in {
            "video": "mp4 mkv mov avi webm flv m2ts mts wmv h264 h265 hevc mxf m4v",
            "image": "jpg jpeg png gif bmp tiff tif webp heic raw cr2 nef dng exr svg ico",
            "audio": "mp3 wav flac ogg opus aac m4a aiff wma mid",
            "signal": "edf sigmf iq mseed",
            "table": "csv tsv parquet xlsx xls sqlite db arrow feather",
            "text": "txt md pdf docx html json jsonl xml tex epub srt odt log",
            "model": "onnx safetensors gguf pt pth h5 keras pkl",
            "archive": "zip tar gz tgz bz2 xz zst 7z rar",
            "code": "py c cpp rs go js ts java cu ipynb whl",
        }.items()
        for extension in extensions.split()
    }
)

#: Chinese, Japanese, Korean, Arabic and Hindi are searched as they stand, without splitting into words.
MEDIA_FRAGMENTS: Final = MappingProxyType(
    {
        "video": ("视频", "影片", "動画", "ビデオ", "映像", "동영상", "영상", "비디오", "فيديو", "वीडियो"),
        "image": ("图片", "图像", "照片", "画像", "写真", "이미지", "사진", "صورة", "صور", "तस्वीर", "फोटो"),
        "audio": ("音频", "音乐", "语音", "录音", "音声", "音楽", "오디오", "음성", "음악", "صوت", "ऑडियो"),
        "table": ("表格", "数据库", "データベース", "테이블", "数据表", "جدول"),
        "text": ("文本", "文档", "评论", "文章", "テキスト", "レビュー", "문서", "텍스트", "리뷰", "نص", "पाठ"),
        "model": ("模型", "モデル", "모델", "نموذج", "मॉडल"),
    }
)

VERBS: Final = MappingProxyType(
    {
        word: verb
        for verb, words in {
            "train": "train training retrain finetune trainiere trainieren entraîner entrainer entrenar treinar "
            "addestrare trainen trenować wytrenować eğit eğitmek обучить обучение дообучить тренировать",
            "encode": "encode encoding transcode transcodiere transcoder transcodificar compress kodieren codieren "
            "encoder codificar codifica coderen zakodować kodla перекодировать закодировать",
            "convert": "convert converting konvertiere konvertieren umwandeln wandle convertir converter convertire "
            "converti omzetten omzet przekonwertuj konwertować dönüştür конвертировать преобразовать",
            "resize": "resize scale downscale upscale skaliere skalieren verkleinern redimensionner redimensionar "
            "ridimensionare verkleinen zmniejsz yeniden_boyutlandır изменить уменьшить",
            "filter": "filter sharpen blur denoise smooth filtere filtern schärfen filtrer filtrar filtrare filteren "
            "filtrować filtrele отфильтровать bandpass lowpass highpass",
            "resample": "resample resampling downsample resamplen rééchantillonner remuestrear reamostrar "
            "ricampionare передискретизировать",
            "extract": "extract extracting extrahiere extrahieren extraire extraer extrair estrarre extraheren "
            "wyodrębnij wyciągnij çıkar извлечь",
            "classify": "classify detect recognise recognize segment klassifiziere erkenne erkennen classer détecter "
            "clasificar detectar classificar classificare rilevare detecteren wykryj sınıflandır распознать "
            "классифицировать",
            "transcribe": "transcribe transcription transkribiere transkribieren transcrire transcribir transcrever "
            "trascrivere transcriberen transkrybuj расшифровать",
            "translate": "translate übersetze übersetzen traduire traducir traduzir tradurre vertalen przetłumacz "
            "çevir перевести",
            "summarise": "summarise summarize zusammenfassen résumer resumir riassumere samenvatten streść özetle",
            "generate": "generate write draft generiere erzeugen générer generar gerar generare genereren wygeneruj "
            "üret сгенерировать",
            "simulate": "simulate simulation simuliere simulieren simuler simular simulare simuleren symuluj simüle "
            "моделировать симуляция",
            "render": "render rendering rendere rendern rendu renderizar renderizzare renderen renderuj отрендерить",
            "download": "download scrape fetch crawl herunterladen lade télécharger descargar baixar scaricare "
            "downloaden pobierz indir скачать upload",
            "copy": "copy move rename delete backup kopiere kopieren verschieben löschen copier déplacer supprimer "
            "copiar mover borrar apagar copiare spostare kopiëren skopiuj kopyala скопировать удалить",
            "compress": "zip gzip archive komprimiere komprimieren packen compresser comprimir comprimere comprimeren "
            "spakuj sıkıştır сжать",
            "encrypt": "encrypt decrypt hash sign verify verschlüsseln chiffrer cifrar criptografar cifrare "
            "versleutelen zaszyfruj şifrele зашифровать checksum",
            "compile": "compile build link package kompiliere kompilieren bauen compiler compilar compilare compileren "
            "skompiluj derle скомпилировать собрать",
            "query": "query select join aggregate sort count group merge abfragen sortiere zählen trier compter "
            "ordenar contar ordinare contare sorteren tellen posortuj policz sırala отсортировать посчитать",
        }.items()
        for word in words.split()
    }
)

VERB_FRAGMENTS: Final = MappingProxyType(
    {
        "train": ("训练", "微调", "学習", "ファインチューニング", "학습", "تدريب"),
        "encode": ("编码", "转码", "エンコード", "인코딩", "ترميز"),
        "convert": ("转换", "変換", "변환", "تحويل"),
        "resize": ("缩放", "リサイズ", "크기"),
        "classify": ("分类", "检测", "识别", "分類", "検出", "認識", "분류", "감지", "인식"),
        "translate": ("翻译", "翻訳", "번역", "ترجم"),
        "simulate": ("模拟", "仿真", "シミュレーション", "시뮬레이션"),
        "render": ("渲染", "レンダリング", "렌더링"),
        "download": ("下载", "ダウンロード", "다운로드", "爬取"),
        "compress": ("压缩", "圧縮", "압축"),
        "compile": ("编译", "コンパイル", "컴파일", "ビルド", "빌드"),
    }
)

_OTHER_THINGS: Final = (
    "images archivo files file items item users user steps step iterations iteration runs run samples sample jobs "
    "job folders products orders customers particles atoms molecules bodies nodes cells points passwords urls sites "
    "requests patients invoices contacts clients lines commits tests dateien datei fichiers fichier archivos "
    "arquivos arquivo bestanden bestand plików pliki plik dosya dosyayı файлов файла файлы schritte étapes pasos "
    "passos passi stappen kroków adım шагов iterationen itérations iteraciones iterações einträge rechnungen "
    "factures facturas faturas fatture facturen faktur"
)
#: Things that come in numbers; the value is the medium, or empty where it has none.
COUNTABLE: Final = MappingProxyType({**dict.fromkeys(_OTHER_THINGS.split(), ""), **MEDIA_WORDS})

_MANY: Final = (
    "all alle batch bulk bütün cada carpeta cartella chaque directory dossier each elke every folder folderze her "
    "jede jeden każdy klasör lot lote map ogni ordner pasta sämtliche todas todos tous toutes tutte tutti tüm "
    "verzeichnis wszystkie все всех каждый папка папке"
)
BATCH_WORDS: Final = frozenset(_MANY.split())
BATCH_FRAGMENTS: Final = ("批量", "所有", "全部", "一括", "すべて", "모든", "일괄", "كل", "सभी")
