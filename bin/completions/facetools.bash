# Made by man/make.py from the commands' options.
_facetools() {
    local words= current=${COMP_WORDS[COMP_CWORD]}
    case "${1##*/} ${COMP_WORDS[COMP_CWORD - 1]}" in
        "fa-augment --format") words="jpg png" ;;
        "fa-augment --on-error") words="report skip stop" ;;
        "fa-train --recipe") words="paper modern" ;;
        "fa-train --loss") words="cosine bce focal mse mae" ;;
        "fa-train --optimizer") words="adadelta adamw muon sgd" ;;
        "fa-train --schedule") words="constant cosine onecycle" ;;
        "fa-train --amp") words="auto off bf16" ;;
        "fa-train --on-error") words="report skip stop" ;;
        "fa-predict --format") words="jsonl npy" ;;
        "fa-predict --partition") words="train valid test" ;;
        "fa-predict --thresholds") words="0.5 accuracy balanced" ;;
        "fa-predict --on-error") words="report skip stop" ;;
        "fa-cluster --method") words="kmeans agglomerative dbscan birch spectral optics" ;;
        "fa-cluster --column") words="scores labels" ;;
        "fa-cluster --frequencies") words="celeba data" ;;
        "fa-cluster --linkage") words="ward complete average single" ;;
        "fa-cluster --metric") words="euclidean manhattan cosine l1 l2" ;;
        "fa-cluster --engine") words="auto sklearn" ;;
        "fa-cluster --format") words="jsonl npy" ;;
        "fa-cluster --on-error") words="report skip stop" ;;
        "fa-eigenface --on-error") words="report skip stop" ;;
        "fa-report --format") words="html text" ;;
        "fa-report --on-error") words="report skip stop" ;;
    esac
    if [[ -z $words && $current == -* ]]; then
        case ${1##*/} in
            fa-augment) words="--output -o --copies --size --rotation --shift --shear --zoom --flip --no-flip --brightness --contrast --saturation --grayscale --format --sheet --null -0 --seed --device --jobs -j --on-error --quiet -q --verbose -v --debug --version --help -h" ;;
            fa-train) words="--output -o --labels --attributes --recipe --epochs --image-size --batch --loss --optimizer --learning-rate --lr --weight-decay --schedule --final-rate --backbone --weights --head --dropout --first-stride --freeze-epochs --augment --no-augment --rotation --shift --shear --zoom --flip --no-flip --brightness --contrast --saturation --grayscale --mixup --averaging --distillation --teacher --flip-average --no-flip-average --growth --amp --valid-share --cache --sync-batchnorm --no-sync-batchnorm --resume --null -0 --seed --device --jobs -j --on-error --quiet -q --verbose -v --debug --version --help -h" ;;
            fa-predict) words="--model -m --output -o --format --labels --partition --thresholds --batch --resume --parts --null -0 --seed --device --jobs -j --on-error --quiet -q --verbose -v --debug --version --help -h" ;;
            fa-cluster) words="-k --method --attributes --column --threshold --soft --weights --frequencies --linkage --metric --eps --min-samples --engine --birch-threshold --redo --summary --compare --methods --output -o --format --seed --device --jobs -j --on-error --quiet -q --verbose -v --debug --version --help -h" ;;
            fa-eigenface) words="--output -o --components --size --color --gray --seed --device --jobs -j --on-error --quiet -q --verbose -v --debug --version --help -h" ;;
            fa-report) words="--output -o --eigenfaces --comparison --history --labels --figures --format --title --faces --max-clusters --prominent --noisy --seed --device --jobs -j --on-error --quiet -q --verbose -v --debug --version --help -h" ;;
        esac
    fi
    if [[ -n $words ]]; then
        COMPREPLY=($(compgen -W "$words" -- "$current"))
    else
        COMPREPLY=($(compgen -f -- "$current"))
    fi
}
complete -o filenames -F _facetools fa-augment fa-train fa-predict fa-cluster fa-eigenface fa-report
