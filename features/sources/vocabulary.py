"""Words that files use for what the log calls otherwise, in English, Chinese and some French, German, Spanish.

A pattern stands for a whole value; case does not matter. Where two fit, the first does.
"""

OWN = r"^(id|no|nr|num|number|n°|编号|单号)\.?$"  # the number of what a file is of, by no other name

NUMBERS = r"(^|[^a-z])(id|no|nr|num|number|nummer|code|key|ref|reference)\.?$|n°|编号|编码|号$"  # of anything

WORDS: dict[str, dict[str, str]] = {  # a set of words -> what the log says -> what files say
    "membership": {
        "joined": r"join\w*|add(ed)?|enter\w*|subscribe[ds]?|in|入群|进群|加入|添加|加好友|入会|关注|rejoint|ajout\w*|entr[ée]e?|beigetreten|beitritt|alta",
        "left": r"left|leave[ds]?|quit|exit\w*|removed?|delete[ds]?|unsubscribed?|out|退群|退出|离开|删除|移除|退会|取消关注|parti|quitt[ée]|sorti\w*|ausgetreten|austritt|baja",
    },
    "consent": {
        "granted": r"1|y(es)?|true|t|on|granted?|opt.?in|opted.?in|accept\w*|subscribed|是|同意|已同意|授权|已授权|订阅|接受|oui|accord\w*|ja?|zugestimmt|s[íi]",
        "withdrawn": r"0|n(o)?|false|f|off|withdrawn|revoked|opt.?out|opted.?out|refused?|declined|unsubscribed|denied|否|不同意|拒绝|已拒绝|退订|已退订|取消授权|撤回|non|retir[ée]\w*|refus[ée]?|nein|widerrufen",
    },
    "purpose": {
        "marketing": r"market\w*|promo\w*|advert\w*|newsletter|营销|推广|广告|促销|publicit\w*|werbung",
        "service": r"service\w*|transaction\w*|notif\w*|服务|通知|交易",
        "automation": r"automat\w*|profil\w*|ai|自动化?|画像",
    },
    "case": {
        "complaint": r"complain\w*|grievance|投诉|客诉|抱怨|r[ée]clamation|plainte|beschwerde|reklamation|queja",
        "return": r"return\w*|refund\w*|退货|退款|换货|retour\w*|remboursement|r[üu]ckgabe|devoluci[óo]n",
        "question": r"question|inquiry|enquiry|query|consult\w*|info\w*|咨询|提问|建议|demande|anfrage|frage|consulta",
    },
    "tagging": {
        "set": r"set|add(ed)?|assign\w*|打标|添加|新增|设置",
        "removed": r"removed?|delete[ds]?|unset|取消|移除|删除|去标",
    },
    "progress": {
        "opened": r"open(ed)?|new|created?|pending|in.?progress|受理|已受理|新建|打开|处理中|待处理|创建|ouvert\w*|en.?cours|offen|abierto",
        "closed": r"closed?|resolved|solved|done|finished|completed?|结案|已结案|关闭|已关闭|已解决|完结|已完成|完成|ferm[ée]\w*|clos|r[ée]solu\w*|geschlossen|erledigt|cerrado",
    },
    "response": {
        "open": r"open(ed)?|read|打开|已打开|阅读|已读|ouvert\w*|ge[öo]ffnet",
        "click": r"click(ed)?|点击|已点击|clic\w*|geklickt",
        "redeem": r"redeem(ed)?|used?|核销|已核销|已使用|使用|兑换|utilis[ée]\w*|eingel[öo]st",
        "buy": r"buy|bought|purchased?|convert\w*|购买|下单|转化|achat|gekauft",
        "opt-out": r"opt.?out|unsub\w*|stop|退订|d[ée]sabonn\w*|abgemeldet",
    },
    "interaction": {
        "visit": r"visit\w*|session(.?start)?|enter|访问|进店|到店|启动|打开|visite|besuch",
        "view": r"(page|product|item|detail)?.?view\w*|pv|browse|浏览|查看|看|页面浏览|商品浏览|vue|ansicht",
        "cart": r"(add.?to.?)?(cart|basket)|cart.?add|加购|加入购物车|加购物车|购物车|panier|warenkorb",
        "comment": r"comment\w*|review\w*|rating|评论|评价|晒单|avis|bewertung",
        "live": r"live\w*|直播|观看直播|看直播",
        "login": r"log.?in|sign.?in|登录|登陆|签到|connexion|anmeldung",
    },
    "channel": {
        "store": r"store|shop|pos|offline|门店|线下|magasin|boutique|filiale|laden",
        "web": r"web(site)?|online|pc|h5|官网|网页|网店|site|webshop",
        "app": r"app|ios|android|APP",
        "mini_program": r"mini.?(program|app)|小程序",
        "wechat": r"wechat|wecom|weixin|wx|微信|企微|企业微信|公众号",
        "live": r"live.?(stream)?|直播间?|抖音直播",
        "sms": r"sms|text|text.?message|短信|mms|彩信",
        "email": r"e.?mail|邮件|电子邮件|邮箱|courriel|m[ée]l",
        "push": r"push|app.?push|推送|通知栏",
        "phone": r"phone|call|tel\w*|电话|外呼|t[ée]l[ée]phone|anruf",
        "mail": r"mail|post(al)?|letter|信函|邮寄|直邮|courrier|brief",
        "staff": r"staff|advisor|guide|导购|店员|顾问|conseiller|berater",
        "group": r"group|chat.?group|社群|微信群|群",
        "marketplace": r"marketplace|taobao|tmall|jd|amazon|ebay|淘宝|天猫|京东|拼多多|抖音|平台",
    },
}  # fmt: skip
